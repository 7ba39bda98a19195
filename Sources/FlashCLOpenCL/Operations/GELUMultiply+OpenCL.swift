import FlashCL

extension GELUMultiply: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<GELUMultiply>] {
    traits.isCPU ? [vectors, items] : [items, vectors]
  }

  private static let file = KernelFile("gelu_multiply")

  private static let items = Strategy<GELUMultiply>("items") { op, launcher in
    try op.launch("gelu_multiply_items", launcher, items: op.y.columns)
  }

  private static let vectors = Strategy<GELUMultiply>("vectors") { op, launcher in
    try op.launch("gelu_multiply_vectors", launcher, items: (op.y.columns + 15) / 16)
  }

  private func launch(_ kernel: String, _ launcher: Launcher, items: Int) throws {
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": gateUp.type.rawValue], global: [items, y.rows],
      [.tensor(gateUp), .tensor(y), .uint(y.rows), .uint(y.columns)])
  }
}
