import FlashCL

extension Embedding: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Embedding>] { [items] }

  private static let file = KernelFile("embedding", including: ["weights"])

  private static let items = Strategy<Embedding>("items") { op, launcher in
    for part in try op.table.parts() {
      try launcher.launch(
        "embedding_items", in: file, ["W_TYPE": part.type.rawValue], global: [op.y.columns, op.ids.count],
        [
          .tensor(op.ids), .buffer(part.tiles), .tensor(op.y), .uint(op.ids.count), .uint(op.y.columns),
          .uint(part.first), .uint(part.outputs), .uint(op.table.outputs), .float(op.scale),
          .int(op.accumulate ? 1 : 0),
        ])
    }
  }
}
