import FlashCL

extension LayerNorm: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<LayerNorm>] {
    traits.order(gpu: [group], cpu: [vectors], any: [rows])
  }

  private static let file = KernelFile("layer_norm")

  private static let rows = Strategy<LayerNorm>("rows") { op, launcher in
    try op.launch("layer_norm_rows", launcher, global: [op.x.rows])
  }

  private static let group = Strategy<LayerNorm>(
    "group", unfit: { _, traits in traits.unfit(items: rowLanes, localBytes: 4 * rowLanes) }
  ) { op, launcher in
    try op.launch("layer_norm_group", launcher, global: [op.x.rows * rowLanes], local: [rowLanes])
  }

  private static let vectors = Strategy<LayerNorm>("vectors") { op, launcher in
    try op.launch("layer_norm_vectors", launcher, global: [op.x.rows], local: [1])
  }

  private func launch(_ kernel: String, _ launcher: Launcher, global: [Int], local: [Int]? = nil) throws {
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": x.type.rawValue, "LANES": "\(rowLanes)"], global: global,
      local: local,
      [
        .tensor(x), .tensor(residual), .tensor(gain), .tensor(bias), .tensor(sum), .tensor(y), .uint(x.rows),
        .uint(x.columns), .float(epsilon),
      ])
  }
}
