import FlashCL

extension Rope: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Rope>] { [items] }

  private static let file = KernelFile("rope")

  private static let items = Strategy<Rope>("items") { op, launcher in
    let pairs = op.table.cos.columns
    let leftover = op.x.shape[2] - 2 * pairs
    try launcher.launch(
      "rope_items", in: file, ["X_TYPE": op.x.type.rawValue],
      global: [pairs + leftover, op.x.shape[1], op.x.shape[0]],
      [
        .view(op.x, [0, 1]), .tensor(op.positions), .tensor(op.table.cos), .tensor(op.table.sin),
        .view(op.y, [0, 1]), .uint(pairs), .uint(op.table.cos.rows), .uint(leftover),
        .int(op.table.pairing == .adjacent ? 1 : 0),
      ])
  }
}
