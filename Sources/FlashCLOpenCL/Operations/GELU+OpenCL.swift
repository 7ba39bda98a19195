import FlashCL

extension GELU: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<GELU>] {
    traits.isCPU ? [vectors, items] : [items, vectors]
  }

  private static let file = KernelFile("gelu")

  private static let items = Strategy<GELU>("items") { op, launcher in
    try op.launch("gelu_items", launcher, items: op.x.count)
  }

  private static let vectors = Strategy<GELU>("vectors") { op, launcher in
    try op.launch("gelu_vectors", launcher, items: (op.x.count + 15) / 16)
  }

  private func launch(_ kernel: String, _ launcher: Launcher, items: Int) throws {
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": x.type.rawValue], global: [items],
      [.tensor(x), .tensor(y), .ulong(x.count), .int(form == .tanh ? 1 : 0)])
  }
}
