import FlashCL

extension WeightedGather: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<WeightedGather>] { [items] }

  private static let file = KernelFile("weighted_gather")

  private static let items = Strategy<WeightedGather>("items") { op, launcher in
    guard op.y.count > 0 else { return }
    try launcher.launch(
      "weighted_gather_items", in: file, global: [op.x.columns, op.rows.rows],
      [
        .tensor(op.x), .tensor(op.rows), .tensor(op.weights), .tensor(op.residual), .tensor(op.y),
        .uint(op.x.rows), .uint(op.x.columns), .uint(op.rows.columns),
      ])
  }
}
