import FlashCL

extension Softmax: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Softmax>] {
    traits.order(gpu: [group], cpu: [vectors], any: [rows])
  }

  private static let lanes = Tunable.rowLanes(Softmax.self)
  static let tunables = [lanes]

  private static let file = KernelFile("softmax")

  private static let rows = Strategy<Softmax>("rows") { op, launcher in
    try op.launch("softmax_rows", launcher, global: [op.x.rows])
  }

  private static let group = Strategy<Softmax>(
    "group", unfit: { _, traits in traits.unfit(items: traits[lanes], localBytes: 4 * traits[lanes] + 4) }
  ) { op, launcher in
    try op.launch(
      "softmax_group", launcher, global: [op.x.rows * launcher.traits[lanes]],
      local: [launcher.traits[lanes]])
  }

  private static let vectors = Strategy<Softmax>("vectors") { op, launcher in
    try op.launch("softmax_vectors", launcher, global: [op.x.rows], local: [1])
  }

  private func launch(_ kernel: String, _ launcher: Launcher, global: [Int], local: [Int]? = nil) throws {
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": x.type.rawValue, "LANES": "\(launcher.traits[Self.lanes])"],
      global: global,
      local: local,
      [.tensor(x), .tensor(y), .uint(x.rows), .uint(x.columns)])
  }
}
