import FlashCL

extension Activation {
  /// ACTIVATION_… in Kernels/prelude.cl.
  var code: Int {
    switch self {
    case .none: 0
    case .relu: 1
    case .gelu: 2
    case .geluTanh: 3
    case .silu: 4
    }
  }
}

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
