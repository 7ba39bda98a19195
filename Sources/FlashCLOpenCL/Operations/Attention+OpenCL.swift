import FlashCL
import FlashCLRuntime

extension Attention: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Attention>] {
    traits.order(gpu: [split, tiled], cpu: [lanes, blocks], any: [rows])
  }

  private static let file = KernelFile("attention")
  /// Keys of one split, fixed so that bits do not depend on other sequences; SPLIT in the kernel.
  private static let splitLength = 128

  private static let rows = Strategy<Attention>("rows") { op, launcher in
    try op.launch("attention_rows", launcher, global: [op.queries, op.heads, op.batch])
  }

  private static let tiled = Strategy<Attention>(
    "tiled",
    unfit: { op, traits in
      if op.isDecode { return "made for prefill" }
      return traits.unfit(items: 64, localBytes: op.tileBytes(op.tile(traits)))
    }
  ) { op, launcher in
    let tile = op.tile(launcher.traits)
    try op.launch(
      "attention_tiled", launcher, tile: tile,
      global: [(op.queries + tile - 1) / tile * 8, op.heads * 8, op.batch], local: [8, 8, 1])
  }

  private static let blocks = Strategy<Attention>(
    "blocks", unfit: { op, _ in op.isDecode ? "made for prefill" : nil }
  ) { op, launcher in
    try op.launch(
      "attention_blocks", launcher, global: [(op.queries + 15) / 16, op.heads, op.batch], local: [1, 1, 1])
  }

  private static let split = Strategy<Attention>(
    "split",
    unfit: { op, traits in
      op.splitUnfit ?? traits.unfit(items: splitLength, localBytes: 4 * (op.q.columns + 2 * splitLength))
    }
  ) { op, launcher in
    try op.launchSplits(
      "attention_split", launcher, global: [op.splits * splitLength, op.keyHeads, op.batch * op.queries],
      local: [splitLength, 1, 1])
  }

  private static let lanes = Strategy<Attention>(
    "lanes",
    unfit: { op, _ in op.splitUnfit ?? (op.y.columns % 16 == 0 ? nil : "needs values of whole sixteens") }
  ) { op, launcher in
    try op.launchSplits(
      "attention_lanes", launcher,
      global: [op.splits, op.heads / op.headsAtOnce, op.batch * op.queries], local: [1, 1, 1])
  }

  private var batch: Int { q.shape[0] }
  private var heads: Int { q.shape[1] }
  private var queries: Int { q.shape[2] }
  private var group: Int { heads / keyHeads }
  private var splits: Int { max(1, (keyCount + Self.splitLength - 1) / Self.splitLength) }

  private var isPaged: Bool { if case .paged = source { true } else { false } }
  private var isDecode: Bool { phase == .decode && isPaged }
  private var splitUnfit: String? { isDecode ? nil : "made for decode from a cache" }

  /// Query heads that share one reading of the keys: up to four, for the registers' sake.
  private var headsAtOnce: Int { (1...min(4, group)).last { group % $0 == 0 } ?? 1 }

  /// Rows and keys of a tile: 32 where they fit in local memory, else 16.
  private func tile(_ traits: Traits) -> Int { tileBytes(32) <= traits.localMemory ? 32 : 16 }

  /// q, keys or values, probabilities, and four numbers a row.
  private func tileBytes(_ tile: Int) -> Int {
    4 * (tile * q.columns + tile * max(q.columns, y.columns) + tile * (tile + 1) + 4 * tile)
  }

  private var keyType: ElementType {
    switch source {
    case .dense(let keys, _, _): keys.type
    case .paged(let cache, _, _, _): cache.type
    }
  }

  private func defines(tile: Int) -> Defines {
    [
      "D": "\(q.columns)", "DV": "\(y.columns)", "X_TYPE": q.type.rawValue, "K_TYPE": keyType.rawValue,
      "PAGED": isPaged ? "1" : "0", "TILE": "\(tile)", "HEADS": "\(headsAtOnce)",
      "SPLIT": "\(Self.splitLength)",
    ]
  }

  private func launch(
    _ kernel: String, _ launcher: Launcher, tile: Int = 32, global: [Int], local: [Int]? = nil,
    extra: [Operand] = []
  ) throws {
    var operands: [Operand] = [.view(q, [0, 1, 2])]
    let none: [Operand] = [.ulong(0), .ulong(0), .ulong(0), .ulong(0)]  // offset and strides of a cache
    switch source {
    case .dense(let keys, let values, let lengths):
      operands += [
        .view(keys, [0, 1, 2]), .view(values, [0, 1, 2]), .tensor(lengths), .tensor(nil), .uint(0),
      ]
    case .paged(let cache, let table, let lengths, _):
      let storage = try cache.buffers()
      operands += [.buffer(storage.keys)] + none + [.buffer(storage.values)] + none
      operands += [.tensor(lengths), .tensor(table), .uint(table.shape[1])]
    }
    operands += [
      .view(y, [0, 1, 2]), .uint(heads), .uint(group), .int(queries), .int(keyCount), .float(scale),
      .int(causal == .none ? 0 : causal == .upperLeft ? 1 : 2),
    ]
    try launcher.launch(
      kernel, in: Self.file, defines(tile: tile), global: global, local: local, operands + extra)
  }

  private func launchSplits(_ kernel: String, _ launcher: Launcher, global: [Int], local: [Int]) throws {
    let elements = splits == 1 ? 1 : batch * heads * queries * splits * (y.columns + 2)
    let partial = try launcher.queue.allocate(4 * elements)
    try launch(kernel, launcher, global: global, local: local, extra: [.buffer(partial), .uint(splits)])
    if splits == 1 { return }
    try launcher.launch(
      "attention_merge", in: Self.file, defines(tile: 32), global: [y.columns, heads, batch * queries],
      [.buffer(partial), .view(y, [0, 1, 2]), .uint(heads), .uint(queries), .uint(splits)])
  }
}
