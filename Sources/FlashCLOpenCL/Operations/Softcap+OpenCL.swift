import FlashCL

extension Softcap: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Softcap>] {
    traits.isCPU ? [vectors, items] : [items, vectors]
  }

  private static let file = KernelFile("softcap")

  private static let items = Strategy<Softcap>("items") { op, launcher in
    try op.launch("softcap_items", launcher, items: op.x.count)
  }

  private static let vectors = Strategy<Softcap>("vectors") { op, launcher in
    try op.launch("softcap_vectors", launcher, items: (op.x.count + 15) / 16)
  }

  private func launch(_ kernel: String, _ launcher: Launcher, items: Int) throws {
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": x.type.rawValue], global: [items],
      [.tensor(x), .tensor(y), .ulong(x.count), .float(cap)])
  }
}
