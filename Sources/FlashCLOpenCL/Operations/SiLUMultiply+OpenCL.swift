import FlashCL

extension SiLUMultiply: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<SiLUMultiply>] {
    traits.isCPU ? [vectors, items] : [items, vectors]
  }

  private static let file = KernelFile("silu_multiply")

  private static let items = Strategy<SiLUMultiply>("items") { op, launcher in
    try op.launch("silu_multiply_items", launcher, items: op.y.columns)
  }

  private static let vectors = Strategy<SiLUMultiply>("vectors") { op, launcher in
    try op.launch("silu_multiply_vectors", launcher, items: (op.y.columns + 15) / 16)
  }

  private func launch(_ kernel: String, _ launcher: Launcher, items: Int) throws {
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": gateUp.type.rawValue], global: [items, y.rows],
      [.tensor(gateUp), .tensor(y), .uint(y.rows), .uint(y.columns)])
  }
}
