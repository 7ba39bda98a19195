import FlashCL

extension Gather: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Gather>] { [items] }

  private static let file = KernelFile("gather")

  private static let items = Strategy<Gather>("items") { op, launcher in
    guard op.y.count > 0 else { return }
    try launcher.launch(
      "gather_items", in: file, ["X_TYPE": op.x.type.rawValue], global: [op.x.columns, op.rows.count],
      [.view(op.x, [0]), .tensor(op.rows), .tensor(op.y), .uint(op.x.rows), .uint(op.x.columns)])
  }
}
