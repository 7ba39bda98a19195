import FlashCL

extension RMSNorm: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<RMSNorm>] {
    traits.order(gpu: [group], cpu: [vectors], any: [rows])
  }

  private static let lanes = Tunable.rowLanes(RMSNorm.self)
  static let tunables = [lanes]

  private static let file = KernelFile("rms_norm")

  private static let rows = Strategy<RMSNorm>("rows") { op, launcher in
    try op.launch("rms_norm_rows", launcher, global: [op.x.rows])
  }

  private static let group = Strategy<RMSNorm>(
    "group", unfit: { _, traits in traits.unfit(items: traits[lanes], localBytes: 4 * traits[lanes]) }
  ) { op, launcher in
    try op.launch(
      "rms_norm_group", launcher, global: [op.x.rows * launcher.traits[lanes]],
      local: [launcher.traits[lanes]])
  }

  private static let vectors = Strategy<RMSNorm>("vectors") { op, launcher in
    try op.launch("rms_norm_vectors", launcher, global: [op.x.rows], local: [1])
  }

  private func launch(_ kernel: String, _ launcher: Launcher, global: [Int], local: [Int]? = nil) throws {
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": x.type.rawValue, "LANES": "\(launcher.traits[Self.lanes])"],
      global: global,
      local: local,
      [
        .tensor(x), .tensor(residual), .tensor(gain), .tensor(sum), .tensor(y), .uint(x.rows),
        .uint(x.columns),
        .float(epsilon),
      ])
  }
}
