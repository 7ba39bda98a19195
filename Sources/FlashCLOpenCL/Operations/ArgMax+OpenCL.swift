import FlashCL

extension ArgMax: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<ArgMax>] { [group, rows] }

  private static let file = KernelFile("argmax")

  private static let rows = Strategy<ArgMax>("rows") { op, launcher in
    try op.launch("argmax_rows", launcher, global: [op.x.rows])
  }

  private static let group = Strategy<ArgMax>(
    "group", unfit: { _, traits in traits.unfit(items: rowLanes, localBytes: 8 * rowLanes) }
  ) { op, launcher in
    try op.launch("argmax_group", launcher, global: [op.x.rows * rowLanes], local: [rowLanes])
  }

  private func launch(_ kernel: String, _ launcher: Launcher, global: [Int], local: [Int]? = nil) throws {
    try launcher.launch(
      kernel, in: Self.file, ["LANES": "\(rowLanes)"], global: global, local: local,
      [.tensor(x), .tensor(y), .uint(x.rows), .uint(x.columns)])
  }
}
