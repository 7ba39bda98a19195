import FlashCL

extension ArgMax: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<ArgMax>] { [group, rows] }

  private static let lanes = Tunable.rowLanes(ArgMax.self)
  static let tunables = [lanes]

  private static let file = KernelFile("argmax")

  private static let rows = Strategy<ArgMax>("rows") { op, launcher in
    try op.launch("argmax_rows", launcher, global: [op.x.rows])
  }

  private static let group = Strategy<ArgMax>(
    "group", unfit: { _, traits in traits.unfit(items: traits[lanes], localBytes: 8 * traits[lanes]) }
  ) { op, launcher in
    try op.launch(
      "argmax_group", launcher, global: [op.x.rows * launcher.traits[lanes]],
      local: [launcher.traits[lanes]])
  }

  private func launch(_ kernel: String, _ launcher: Launcher, global: [Int], local: [Int]? = nil) throws {
    try launcher.launch(
      kernel, in: Self.file, ["LANES": "\(launcher.traits[Self.lanes])"], global: global, local: local,
      [.tensor(x), .tensor(y), .uint(x.rows), .uint(x.columns)])
  }
}
