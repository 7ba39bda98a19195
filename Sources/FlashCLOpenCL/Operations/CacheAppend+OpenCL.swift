import FlashCL

extension CacheAppend: OpenCLOperation {
  // Also where there are no outputs.
  var isEmpty: Bool { keys.shape[0] == 0 }

  static func strategies(on traits: Traits) -> [Strategy<CacheAppend>] { [items, quantised] }

  private static let file = KernelFile("cache_append", including: ["cache"])

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
    try op.launch(
      "cache_append_quantised", launcher, width: (op.cache.keySize + op.cache.valueSize) / 32,
      ["C_TYPE": "q8_0", "QUANTISED": "1"])
  }

  /// Queues it before an operation that cannot do it on the way: once, though one strategy of that may be tried after another,
  /// because queries turn in place. What is refused here is no fault of that operation's strategy.
  func launch(_ launcher: Launcher) throws {
    if launcher.hasAppended { return }
    let outer = launcher.trials.strategy
    let strategy = cache.type == .q8_0 ? Self.quantised : Self.items
    launcher.trials.strategy = (Self.name, strategy.name)
    try strategy.launch(self, launcher)
    launcher.trials.strategy = outer
    launcher.hasAppended = true
  }

  private func launch(
    _ kernel: String, _ launcher: Launcher, width: Int, _ defines: Defines
  ) throws {
    let storage = try cache.buffers()
    try launcher.launch(
      kernel, in: Self.file, ["X_TYPE": keys.type.rawValue] + defines,
      global: [width, cache.heads + (queries?.shape[1] ?? 0), keys.shape[0]],
      [
        .buffer(storage.keys), .buffer(storage.values), .buffer(storage.keyScales),
        .buffer(storage.valueScales), .uint(cache.heads), .uint(cache.keySize), .uint(cache.valueSize),
      ] + operands + (queries.map { [.view($0, [0, 1])] } ?? [.tensor(nil), .ulong(0), .ulong(0)]))
  }

  /// What is appended, for kernels that include cache.cl.
  var operands: [Operand] {
    [
      .view(keys, [0, 1]), .view(values, [0, 1]), .tensor(slots), .tensor(positions), .tensor(table?.cos),
      .tensor(table?.sin), .uint(table?.cos.columns ?? 0), .uint(table?.cos.rows ?? 0),
      .int(table?.pairing == .adjacent ? 1 : 0), .uint(cache.blocks * cache.blockLength),
    ]
  }
}
