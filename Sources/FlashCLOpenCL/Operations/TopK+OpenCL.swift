import FlashCL

extension TopK: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<TopK>] { [group, rows] }

  private static let lanes = Tunable.rowLanes(TopK.self)
  static let tunables = [lanes]

  private static let file = KernelFile("top_k")

  private static let rows = Strategy<TopK>("rows") { op, launcher in
    try op.launch("top_k_rows", launcher, global: [op.x.rows])
  }

  private static let group = Strategy<TopK>(
    "group", unfit: { _, traits in traits.unfit(items: traits[lanes], localBytes: 8 * traits[lanes]) }
  ) { op, launcher in
    try op.launch(
      "top_k_group", launcher, global: [op.x.rows * launcher.traits[lanes]],
      local: [launcher.traits[lanes]])
  }

  private func launch(_ kernel: String, _ launcher: Launcher, global: [Int], local: [Int]? = nil) throws {
    try launcher.launch(
      kernel, in: Self.file, ["LANES": "\(launcher.traits[Self.lanes])"], global: global, local: local,
      [.tensor(x), .tensor(values), .tensor(indices), .uint(x.rows), .uint(x.columns), .uint(k)])
  }
}
