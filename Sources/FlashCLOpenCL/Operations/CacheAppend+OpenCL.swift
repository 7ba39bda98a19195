import FlashCL

extension CacheAppend: OpenCLOperation {
  // Also where there are no outputs.
  var isEmpty: Bool { keys.shape[0] == 0 }

  static func strategies(on traits: Traits) -> [Strategy<CacheAppend>] { [items, quantised] }

  private static let file = KernelFile("cache_append")

  private static let items = Strategy<CacheAppend>(
    "items", unfit: { op, _ in op.cache.type == .q8_0 ? "stores plain elements" : nil }
  ) { op, launcher in
    let pairs = op.table?.cos.columns ?? 0
    try op.launch(
      "cache_append_items", launcher, width: max(op.cache.valueSize, op.cache.keySize - pairs),
      ["C_TYPE": op.cache.type.rawValue])
  }

  private static let quantised = Strategy<CacheAppend>(
    "quantised", unfit: { op, _ in op.cache.type == .q8_0 ? nil : "stores q8_0" }
  ) { op, launcher in
    let cache = try op.cache.buffers()
    try op.launch(
      "cache_append_quantised", launcher, width: (op.cache.keySize + op.cache.valueSize) / 32,
      ["C_TYPE": "q8_0", "QUANTISED": "1"],
      [.buffer(cache.keyScales), .buffer(cache.valueScales)])
  }

  private func launch(
    _ kernel: String, _ launcher: Launcher, width: Int, _ defines: Defines, _ extra: [Operand] = []
  ) throws {
    let storage = try cache.buffers()
    let tokens = keys.shape[0]
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": keys.type.rawValue] + defines,
      global: [width, cache.heads + (queries?.shape[1] ?? 0), tokens],
      [
        .view(keys, [0, 1]), .view(values, [0, 1]), .tensor(slots), .tensor(positions), .tensor(table?.cos),
        .tensor(table?.sin), .buffer(storage.keys), .buffer(storage.values), .uint(cache.heads),
        .uint(cache.keySize), .uint(cache.valueSize), .uint(table?.cos.columns ?? 0),
        .uint(table?.cos.rows ?? 0), .int(table?.pairing == .adjacent ? 1 : 0),
        .uint(cache.blocks * cache.blockLength),
      ] + (queries.map { [.view($0, [0, 1])] } ?? [.tensor(nil), .ulong(0), .ulong(0)]) + extra)
  }
}
