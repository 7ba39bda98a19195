import FlashCL

extension CacheAppend: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<CacheAppend>] { [items] }

  private static let file = KernelFile("cache_append")

  private static let items = Strategy<CacheAppend>("items") { op, launcher in
    let cache = try op.cache.buffers()
    let pairs = op.table?.cos.columns ?? 0
    let tokens = op.keys.shape[0]
    guard tokens > 0 else { return }
    try launcher.launch(
      "cache_append_items", in: file, ["X_TYPE": op.keys.type.rawValue, "C_TYPE": op.cache.type.rawValue],
      global: [max(op.cache.valueSize, op.cache.keySize - pairs), op.cache.heads, tokens],
      [
        .view(op.keys, [0, 1]), .view(op.values, [0, 1]), .tensor(op.slots), .tensor(op.positions),
        .tensor(op.table?.cos), .tensor(op.table?.sin), .buffer(cache.keys), .buffer(cache.values),
        .uint(op.cache.heads), .uint(op.cache.keySize), .uint(op.cache.valueSize), .uint(pairs),
        .uint(op.table?.cos.rows ?? 0), .int(op.table?.pairing == .adjacent ? 1 : 0), .uint(op.cache.blocks),
      ])
  }
}
