import FlashCL
import FlashCLRuntime

extension Attention: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Attention>] {
    // Without matrix units their emulation is nobody's choice, but proves the kernel; of decode's nothing was timed yet.
    let others = traits.order(gpu: [split, tiled], cpu: [lanes, blocks], any: [rows])
    return (traits.fragments.isPreferred ? [matrix] + others : others + [matrix]) + [matrixSplit]
  }

  fileprivate static let rowsFile = KernelFile("attention_rows", including: ["attention"])
  private static let tiledFile = KernelFile("attention_tiled", including: ["attention"])
  private static let blocksFile = KernelFile("attention_blocks", including: ["attention"])
  private static let splitFile = KernelFile(
    "attention_split", including: ["cache", "attention", "attention_decode"])
  private static let lanesFile = KernelFile(
    "attention_lanes", including: ["cache", "attention", "attention_decode"])
  static let tunables = [splitLength, rowsOfGroup, headsOfItem, tileSide, blockKeys, blockVectors]

  /// Keys of one split, the same for all sequences, so that bits do not depend on others; SPLIT in the kernel.
  private static let splitLength = Tunable(
    Attention.self, "split", of: [64, 128, 256, 512], for: ["split", "lanes", "matrix_split"]
  ) { _ in 128 }
  /// The most rows, of one query head each, that share one reading of the keys by a group: a sum each in an item's registers.
  private static let rowsOfGroup = Tunable(
    Attention.self, "rows", of: [4, 8, 16, 32], for: ["split"], intensity: { sharing($0) }
  ) { _ in 16 }
  /// The most query heads that share one reading of the keys, for the registers' sake.
  private static let headsOfItem = Tunable(
    Attention.self, "heads", of: [1, 2, 4], for: ["lanes"], intensity: { sharing($0) }
  ) { _ in 4 }
  /// Rows and keys of a tile in local memory, where they fit there.
  private static let tileSide = Tunable(
    Attention.self, "tile", of: [16, 32], for: ["tiled"], intensity: { sharing($0) }
  ) { _ in 32 }
  /// Keys of a private tile for heads of 64; wider heads have 16, so that tiles stay in a first cache.
  private static let blockKeys = Tunable(Attention.self, "block", of: [16, 32, 64], for: ["blocks"]) { _ in 32
  }

  /// The most vectors of sixteen rows that share a private tile; VECTORS in the kernel.
  private static let blockVectors = Tunable(Attention.self, "vectors", of: [1, 2, 4], for: ["blocks"]) {
    _ in 4
  }

  /// Each element of a key or value, 4 bytes, is multiplied and added once for each row that shares it.
  private static func sharing(_ rows: Int) -> Double { 2 * Double(rows) / 4 }

  private static let rows = Strategy<Attention>("rows", unfit: { op, _ in op.termsUnfit }) { op, launcher in
    let call = try AttentionCall(op, launcher)
    try call.launch("attention_rows", in: rowsFile, call.choice, global: [op.queryCount, op.heads, op.batch])
  }

  private static let tiled = Strategy<Attention>(
    "tiled",
    unfit: { op, traits in
      op.prefillUnfit ?? traits.unfit(items: 64, localBytes: op.tileBytes(op.tile(traits)))
    }
  ) { op, launcher in
    let tile = op.tile(launcher.traits)
    try op.launchTiles(
      "attention_tiled", in: tiledFile, launcher, rows: tile, keys: tile,
      global: [(op.queryCount + tile - 1) / tile * 8, op.heads * 8, op.batch], local: [8, 8, 1])
  }

  private static let blocks = Strategy<Attention>("blocks", unfit: { op, _ in op.prefillUnfit }) {
    op, launcher in
    let wide = max(AttentionCall.size(op), op.y.columns)
    // As measured: over 512 keys, D 64, four have 1.29 times one vector's rate (causal 1.18), two 1.21; over 48 keys two have 0.86.
    let useful = op.queryCount >= 128 ? 4 : op.queryCount >= 64 ? 2 : 1
    let vectors = min(useful, launcher.traits[blockVectors])
    try op.launchTiles(
      "attention_blocks", in: blocksFile, launcher, ["VECTORS": "\(vectors)"], rows: 16 * vectors,
      keys: wide <= 64 ? launcher.traits[blockKeys] : 16,
      global: [(op.queryCount + 16 * vectors - 1) / (16 * vectors), op.heads, op.batch], local: [1, 1, 1])
  }

  private static let split = Strategy<Attention>(
    "split",
    unfit: { op, traits in
      op.decodeUnfit
        ?? traits.unfit(items: traits[splitLength], localBytes: op.splitBytes(rows: 1, traits))
    }
  ) { op, launcher in
    try op.launchPacked(
      "attention_split", in: splitFile, launcher, ["ROWS": "\(op.rowsAtOnce(launcher.traits))"],
      items: launcher.traits[splitLength])
  }

  private static let lanes = Strategy<Attention>(
    "lanes",
    unfit: { op, _ in
      if let reason = op.decodeUnfit { return reason }
      let isWhole = op.y.columns % 16 == 0 && (op.isPaged || AttentionCall.size(op) % 16 == 0)
      return isWhole ? nil : "needs heads of whole sixteens"
    }
  ) { op, launcher in
    let heads = op.headsAtOnce(launcher.traits)
    let splits = op.splits(of: launcher.traits[splitLength], rows: 1)
    let groups = op.heads / heads * op.queryCount
    // Nobody but the item that writes a new key may read it.
    let isFused =
      op.canAppend && !launcher.hasAppended && op.queryCount == 1 && heads == op.heads / op.keyHeads
    try op.launchSplits(
      "attention_lanes", in: lanesFile, AttentionCall(op, launcher, appendsFirst: !isFused), launcher,
      ["HEADS": "\(heads)", "APPENDS": isFused ? "1" : "0"], splits, counters: op.batch * groups,
      global: [groups, splits, op.batch], local: [1, 1, 1], isFused ? op.appending?.operands ?? [] : [])
  }

  private var isPaged: Bool { if case .paged = source { true } else { false } }

  // MARK: - Preconditions

  /// What no strategy can do.
  fileprivate var termsUnfit: String? {
    guard let positions = options.positions, positions.keys != nil || positions.queries != nil else {
      return nil
    }
    if queryStarts != nil { return "relative positions are not served for ragged queries" }
    if positions.queries == nil { return nil }
    if case .dense = source { return nil }
    return "relative queries are served for dense keys alone"
  }

  private var softUnfit: String? {
    if options.choice != .soft { return "hard attention is made by rows" }
    if options.positions?.values != nil { return "relative values are added by rows" }
    return termsUnfit
  }

  var prefillUnfit: String? { phase == .decode ? "made for prefill" : softUnfit }
  var decodeUnfit: String? { phase == .prefill ? "made for decode" : softUnfit }

  // MARK: - Launches

  /// Query heads that share one reading of the keys.
  private func headsAtOnce(_ traits: Traits) -> Int {
    let group = heads / keyHeads
    return (1...min(traits[Self.headsOfItem], group)).last { group % $0 == 0 } ?? 1
  }

  private func tile(_ traits: Traits) -> Int {
    tileBytes(traits[Self.tileSide]) <= traits.localMemory ? traits[Self.tileSide] : 16
  }

  /// q, keys or values, probabilities, three numbers a row, and two flags.
  private func tileBytes(_ tile: Int) -> Int {
    let size = AttentionCall.size(self)
    return 4 * (tile * size + tile * max(size, y.columns) + tile * (tile + 1) + 3 * tile + 2)
  }

  func launchTiles(
    _ kernel: String, in file: KernelFile, _ launcher: Launcher, _ defines: Defines = [:],
    rows: Int, keys: Int, global: [Int], local: [Int]
  ) throws {
    let call = try AttentionCall(self, launcher)
    var lists: [Operand] = []
    if isUniform && options.mask.split.pattern.hasKnownTiles {
      let (starts, tiles) = try launcher.tables.tiles(
        of: options.mask, rows: rows, columns: keys, queries: queryCount, keys: keyCount, launcher.queue)
      lists = [.buffer(starts), .buffer(tiles)]
    }
    try call.launch(
      kernel, in: file, defines + ["TILE": "\(keys)", "LISTED": lists.isEmpty ? "0" : "1"], global: global,
      local: local, lists)
  }

  /// Splits of the keys that `rows` neighbouring rows see, which may begin anywhere in the first.
  private func splits(of length: Int, rows: Int) -> Int {
    let band = options.mask.split.band
    let reach = min(keyCount, band.left + min(band.right, keyCount) + rows + length - 1)
    return max(1, (reach + length - 1) / length)
  }

  /// Nodes of sixteen in any run of so many splits; NODES in the kernels.
  private static func nodes(_ splits: Int) -> Int { splits / 16 + 2 }

  /// A group of `items` for each split and key head, which takes all rows that read it, and appends what is new where that may be.
  func launchPacked(
    _ kernel: String, in file: KernelFile, _ launcher: Launcher, _ defines: Defines, items: Int
  ) throws {
    let splits = splits(of: launcher.traits[Self.splitLength], rows: queryCount)
    let isFused = canAppend && !launcher.hasAppended
    try launchSplits(
      kernel, in: file, AttentionCall(self, launcher, appendsFirst: !isFused), launcher,
      defines + ["PACKS": "1", "APPENDS": isFused ? "1" : "0"], splits,
      counters: batch * keyHeads * (1 + Self.nodes(splits)), global: [keyHeads * items, splits, batch],
      local: [items, 1, 1], isFused ? appending?.operands ?? [] : [])
  }

  private func launchSplits(
    _ kernel: String, in file: KernelFile, _ call: AttentionCall, _ launcher: Launcher, _ defines: Defines,
    _ splits: Int, counters: Int, global: [Int], local: [Int], _ extra: [Operand] = []
  ) throws {
    let results = splits == 1 ? 0 : batch * heads * queryCount * (splits + Self.nodes(splits))
    try call.launch(
      kernel, in: file, ["SPLIT": "\(launcher.traits[Self.splitLength])"] + defines, global: global,
      local: local,
      [
        .buffer(try launcher.queue.allocate(max(4, 4 * results * (y.columns + 2)))), .uint(splits),
        .buffer(try launcher.counters(counters)),
      ] + extra)
  }

  /// Rows that a group takes at once: a power of two, so that few programs serve all calls.
  private func rowsAtOnce(_ traits: Traits) -> Int {
    let all = heads / keyHeads * queryCount
    var rows = 1
    while rows < min(all, traits[Self.rowsOfGroup]),
      splitBytes(rows: 2 * rows, traits) <= traits.localMemory
    {
      rows *= 2
    }
    return rows
  }

  /// Queries, scores, three numbers a row, and an answer.
  private func splitBytes(rows: Int, _ traits: Traits) -> Int {
    4 * (rows * (AttentionCall.size(self) + traits[Self.splitLength] + 3) + 1)
  }

  /// True where new keys and values join the cache on the way: every row sees its own key, so that somebody takes its split, and
  /// queries are compared as they lie.
  private var canAppend: Bool {
    guard let appending, appending.keys.type == q.type, options.positions == nil else { return false }
    let band = options.mask.split.band
    guard band.left >= 0, band.right >= 0, !band.isUpperLeft else { return false }
    switch options.kind {
    case .scaled, .dot, .gaussian: return true
    case .general, .additive: return false
    }
  }
}

extension AttentionWeights: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<AttentionWeights>] { [rows] }

  private static let file = KernelFile("attention_weights", including: ["attention"])

  private static let rows = Strategy<AttentionWeights>(
    "rows", unfit: { op, _ in op.attention.termsUnfit }
  ) { op, launcher in
    let chosen = try launcher.queue.allocate(4 * max(op.heads.count, 1))
    try op.heads.map { Int32($0) }.withUnsafeBytes { try launcher.queue.write($0, to: chosen, at: 0) }
    try AttentionCall(op.attention, launcher).launch(
      "attention_weights_rows", in: file,
      global: [op.attention.queryCount, op.heads.count, op.attention.batch],
      [.buffer(chosen), .tensor(op.weights), .uint(op.heads.count)])
  }
}

/// One call made ready for its kernels: q and keys as its score kind compares them, its terms, its common operands.
private struct AttentionCall {
  private let op: Attention
  private let launcher: Launcher
  private let terms: AttentionTerms
  private let q: Tensor
  private let source: Attention.Source

  /// What `op` appends is queued here, unless the kernel does it.
  init(_ op: Attention, _ launcher: Launcher, appendsFirst: Bool = true) throws {
    self.op = op
    self.launcher = launcher
    if appendsFirst { try op.appending?.launch(launcher) }
    terms = try AttentionTerms(op, launcher)
    func project(_ x: Tensor, _ matrix: Tensor?, _ bias: Tensor?) throws -> Tensor {
      let size = matrix?.columns ?? x.columns
      let y = try launcher.queue.allocate(4 * x.rows * size)
      try launcher.launch(
        "attention_project", in: Attention.rowsFile, ["X_TYPE": x.type.rawValue],
        global: [size, x.shape[2], x.shape[0] * x.shape[1]],
        [
          .view(x, [0, 1, 2]), .tensor(matrix),
          .ulong(matrix?.shape.count == 3 ? matrix?.strides[0] ?? 0 : 0),
          .tensor(bias), .buffer(y), .uint(x.shape[1]), .uint(x.shape[2]), .uint(x.columns), .uint(size),
        ])
      return Tensor(shape: x.shape.dropLast() + [size], type: .f32, storage: DeviceStorage(y))
    }
    var (q, source) = (op.q, op.source)
    switch op.options.kind {
    case .general(let matrix): q = try project(q, matrix, nil)
    case .additive(let query, let key, _):
      if let query { q = try project(q, query, nil) }
      switch source {
      case .dense(let keys, let values, let lengths):
        if let key { source = .dense(keys: try project(keys, key, nil), values: values, lengths: lengths) }
      case .ragged(let keys, let values, let starts, let longest):
        if let key {
          source = .ragged(
            keys: try project(keys, key, nil), values: values, starts: starts, longest: longest)
        }
      case .paged: break
      }
    default: break
    }
    if let bias = op.options.positions?.contentBias { q = try project(q, nil, bias) }
    (self.q, self.source) = (q, source)
  }

  /// The size of what is compared: D in the kernels.
  static func size(_ op: Attention) -> Int {
    switch op.options.kind {
    case .general(let matrix): matrix.columns
    case .additive(_, _, let score): score.count
    default: op.q.columns
    }
  }

  /// What becomes of the scores, as defines.
  var choice: Defines {
    switch op.options.choice {
    case .soft: ["CHOICE": "0"]
    case .hard: ["CHOICE": "1"]
    case .sampled(let seed):
      [
        "CHOICE": "2", "SEED_LOW": "\(UInt32(truncatingIfNeeded: seed))u",
        "SEED_HIGH": "\(UInt32(seed >> 32))u",
      ]
    }
  }

  func launch(
    _ kernel: String, in file: KernelFile, _ defines: Defines = [:], global: [Int], local: [Int]? = nil,
    _ extra: [Operand] = []
  ) throws {
    do {
      try launcher.launch(
        kernel, in: file, terms: terms.text, common + defines, global: global, local: local,
        operands() + extra)
    } catch CLError.build(_, let errors, _) where op.options.hasExpressions {
      let texts = [("scoreMod", op.options.scoreMod), ("maskMod", op.options.maskMod)]
        .compactMap { name, mod in mod.map { "\(name) '\($0.text)'" } }
      let reported = errors.filter { $0.contains("scoreMod") || $0.contains("maskMod") }
      throw FlashCLError.shape(
        "attention: \(texts.joined(separator: ", ")) does not compile: "
          + (reported.isEmpty ? errors : reported).joined(separator: "; "))
    }
  }

  private var common: Defines {
    let kind =
      switch op.options.kind {
      case .gaussian: 1
      case .additive: 2
      default: 0
      }
    var (keyType, page) = (op.q.type, 0)
    switch source {
    case .dense(let keys, _, _), .ragged(let keys, _, _, _): keyType = keys.type
    case .paged(let cache, _, _, _): (keyType, page) = (cache.type, cache.blockLength)
    }
    return [
      "D": "\(Self.size(op))", "DV": "\(op.y.columns)", "X_TYPE": op.q.type.rawValue,
      "Q_TYPE": q.type.rawValue, "K_TYPE": keyType.rawValue, "PAGED": page > 0 ? "1" : "0",
      "PAGE": "\(max(page, 16))", "QUANTISED": keyType == .q8_0 ? "1" : "0", "KIND": "\(kind)",
    ]
  }

  private func operands() throws -> [Operand] {
    var operands: [Operand] = [.view(q, [0, 1, 2])]
    let none: [Operand] = [.ulong(0), .ulong(0), .ulong(0), .ulong(0)]  // offset and strides of a cache
    let noScales: [Operand] = [.buffer(nil), .buffer(nil)]
    var keyStarts: Tensor?
    switch source {
    case .dense(let keys, let values, let lengths):
      operands += [.view(keys, [0, 1, 2]), .view(values, [0, 1, 2])] + noScales
      operands += [.tensor(lengths), .tensor(nil), .uint(0), .uint(0)]
    case .ragged(let keys, let values, let starts, _):
      operands += [.packed(keys), .packed(values)] + noScales
      operands += [.tensor(nil), .tensor(nil), .uint(0), .uint(keys.shape[2])]
      keyStarts = starts
    case .paged(let cache, let table, let lengths, _):
      let storage = try cache.buffers()
      operands += [.buffer(storage.keys)] + none + [.buffer(storage.values)] + none
      operands += [.buffer(storage.keyScales), .buffer(storage.valueScales)]
      operands += [.tensor(lengths), .tensor(table), .uint(table.shape[1]), .uint(cache.blocks)]
    }
    let isRagged = op.queryStarts != nil
    if isRagged { operands[0] = .packed(q) }
    operands += [.tensor(op.queryStarts), .int(q.shape[2]), .tensor(keyStarts)]
    operands.append(isRagged ? .packed(op.y) : .view(op.y, [0, 1, 2]))
    if let lse = op.logSumExp {
      operands.append(isRagged ? .packed(lse) : .view(lse, [0, 1, 2]))
    } else {
      operands += [.tensor(nil), .ulong(0), .ulong(0), .ulong(0)]
    }
    let band = op.options.mask.split.band
    operands += [
      .uint(op.heads), .uint(op.heads / op.keyHeads), .int(op.queryCount), .int(op.keyCount),
      .float(op.scale),
      .int(band.left), .int(band.right), .int(band.isUpperLeft ? 1 : 0),
    ]
    return operands + terms.operands
  }
}

extension AttentionOptions {
  fileprivate var hasExpressions: Bool { scoreMod != nil || maskMod != nil }
}
