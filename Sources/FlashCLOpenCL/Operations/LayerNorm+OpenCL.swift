import FlashCL

extension LayerNorm: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<LayerNorm>] {
    traits.order(gpu: [group], cpu: [vectors], any: [rows])
  }

  private static let lanes = Tunable.rowLanes(LayerNorm.self)
  static let tunables = [lanes]

  private static let file = KernelFile("layer_norm", including: ["norm"])

  private static let rows = Strategy<LayerNorm>("rows") { op, launcher in
    try op.launch("layer_norm_rows", launcher, global: [op.x.rows])
  }

  private static let group = Strategy<LayerNorm>(
    "group", unfit: { _, traits in traits.unfit(items: traits[lanes], localBytes: 4 * traits[lanes]) }
  ) { op, launcher in
    try op.launch(
      "layer_norm_group", launcher, global: [op.x.rows * launcher.traits[lanes]],
      local: [launcher.traits[lanes]])
  }

  private static let vectors = Strategy<LayerNorm>("vectors") { op, launcher in
    try op.launch("layer_norm_vectors", launcher, global: [op.x.rows], local: [1])
  }

  private func launch(_ kernel: String, _ launcher: Launcher, global: [Int], local: [Int]? = nil) throws {
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": x.type.rawValue, "LANES": "\(launcher.traits[Self.lanes])"],
      global: global,
      local: local,
      [
        .tensor(x), .tensor(residual), .tensor(gain), .tensor(bias), .tensor(sum), .tensor(y), .uint(x.rows),
        .uint(x.columns), .float(epsilon),
      ])
  }
}
