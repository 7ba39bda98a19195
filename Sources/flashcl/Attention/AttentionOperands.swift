import ArgumentParser
import FlashCL
import FlashCLFiles

/// The order of the axes of q, k, v and the result.
enum AttentionLayout: String, ExpressibleByArgument, CaseIterable {
  /// `[B, H, L, D]`
  case bhld
  /// `[B, L, H, D]`
  case blhd

  /// A shape or a view in the one order as the other; its own inverse.
  func swapped(_ shape: [Int]) -> [Int] { self == .bhld ? shape : [shape[0], shape[2], shape[1], shape[3]] }
  func swapped(_ tensor: Tensor) -> Tensor { self == .bhld ? tensor : tensor.permuted([0, 2, 1, 3]) }
}

/// Queries, keys and values: the files, checked against each other.
struct AttentionOperands {
  let q, k, v: AttentionArray
  let layout: AttentionLayout
  /// How they are stored on the device.
  let type: ElementType

  /// Sizes `[B, H, L, D]`, whatever the layout; of a paged call's keys and values `[pages, H, page, D]`.
  let queries, keys, values: [Int]

  init(_ q: String, _ k: String, _ v: String, layout: AttentionLayout, type: ElementType?, isPaged: Bool)
    throws
  {
    let arrays = try [q, k, v].map { try AttentionArray($0, .f32, .f16) }
    for array in arrays {
      guard array.shape.count == 4 else {
        let axes = layout == .bhld ? "[B, H, L, D]" : "[B, L, H, D]"
        throw Failure("\(array.path): has the shape \(array.shape), expected \(axes)")
      }
      guard (1...512).contains(array.shape[3]) else {
        throw Failure("\(array.path): has the shape \(array.shape); heads have 1 to 512 elements")
      }
    }
    (self.q, self.k, self.v, self.layout) = (arrays[0], arrays[1], arrays[2], layout)
    if type == nil, let other = arrays.first(where: { $0.type != arrays[0].type }) {
      throw Failure(
        "\(q) holds \(arrays[0].file.typeName) and \(other.path) \(other.file.typeName); choose with --type")
    }
    self.type = type ?? arrays[0].type
    let sizes = arrays.map { layout.swapped($0.shape) }
    (queries, keys, values) = (sizes[0], sizes[1], sizes[2])
    func refuse(_ a: AttentionArray, _ b: AttentionArray, _ reason: String) -> Failure {
      Failure("\(a.path) is \(a.shape) and \(b.path) is \(b.shape): \(reason)")
    }
    guard keys[0...2] == values[0...2] else {
      throw refuse(self.k, self.v, "keys and values differ in more than the size of a head")
    }
    guard isPaged || queries[0] == keys[0] else {
      throw refuse(self.q, self.k, "queries and keys are of unequal batches, \(queries[0]) and \(keys[0])")
    }
    guard keys[1] > 0, queries[1] % keys[1] == 0 else {
      throw refuse(self.q, self.k, "\(queries[1]) query heads are no multiple of \(keys[1]) key heads")
    }
  }

  /// Throws unless queries and keys have heads of one size, as all scores but general and additive ones need.
  func requireEqualHeads() throws {
    guard queries[3] == keys[3] else {
      throw Failure(
        "\(q.path) is \(q.shape) and \(k.path) is \(k.shape): heads of \(queries[3]) and of \(keys[3]) elements"
      )
    }
  }

  /// One of the arrays as `[B, H, L, D]` in a backend's memory.
  func tensor(_ array: AttentionArray, on backend: any Backend, as type: ElementType? = nil) throws -> Tensor
  {
    layout.swapped(try array.tensor(on: backend, as: type ?? self.type))
  }
}

/// Which positions belong to one sequence, and where its keys lie: dense, ragged or paged.
struct AttentionSequences: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Keys of each sequence, int32 [B]: those past its own are masked.", valueName: "n.npy")
  )
  var keyLengths: String?
  @Option(
    name: .customLong("cu-seqlens-q"), parsing: .unconditional,
    help: ArgumentHelp(
      "Ragged batch: int32 [B + 1], where each sequence's queries start; q is [1, H, total, D].",
      valueName: "n.npy"))
  var queryStarts: String?
  @Option(
    name: .customLong("cu-seqlens-k"), parsing: .unconditional,
    help: ArgumentHelp("The same for keys and values, [1, H, total, D].", valueName: "n.npy"))
  var keyStarts: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Paged keys and values, [pages, H, page, D]: the pages of each sequence, int32 [B, pages of one]; needs --page and \
      --key-lengths.
      """, valueName: "t.npy"))
  var blockTable: String?
  @Option(parsing: .unconditional, help: "Tokens of one page: 16 to 256, a multiple of 16.")
  var page: Int?

  var paths: [String] { [keyLengths, queryStarts, keyStarts, blockTable].compactMap { $0 } }
  var isPaged: Bool { blockTable != nil }
  var isRagged: Bool { queryStarts != nil }

  func validate() throws {
    if (queryStarts == nil) != (keyStarts == nil) {
      throw ValidationError("--cu-seqlens-q and --cu-seqlens-k go together")
    }
    if isRagged && (isPaged || keyLengths != nil) {
      throw ValidationError("--cu-seqlens-q says all lengths; it excludes --key-lengths and --block-table")
    }
    if isPaged != (page != nil) { throw ValidationError("--block-table and --page go together") }
    if isPaged && keyLengths == nil { throw ValidationError("--block-table needs --key-lengths") }
    if let page, !(16...256).contains(page) || page % 16 != 0 {
      throw ValidationError("--page \(page): a page has 16 to 256 tokens, a multiple of 16")
    }
  }

  /// How the queries are packed.
  func rows(_ operands: AttentionOperands, on backend: any Backend) throws -> Attention.Rows {
    guard let queryStarts else { return .equal }
    let (array, longest) = try Self.starts(queryStarts, operands.q, operands.queries)
    return .ragged(starts: try array.tensor(on: backend), longest: longest)
  }

  /// Where keys and values lie; a cache is empty until `fill`.
  func source(_ operands: AttentionOperands, on backend: any Backend) throws -> Attention.Source {
    let lengths = try keyLengths.map { try AttentionArray($0, .i32) }
    if let blockTable, let page, let lengths {
      return try paged(operands, try AttentionArray(blockTable, .i32), page, lengths, on: backend)
    }
    if let keyStarts {
      let (array, longest) = try Self.starts(keyStarts, operands.k, operands.keys)
      return .ragged(
        keys: try operands.tensor(operands.k, on: backend),
        values: try operands.tensor(operands.v, on: backend),
        starts: try array.tensor(on: backend), longest: longest)
    }
    if let lengths {
      try Self.check(
        lengths, batch: operands.queries[0], most: operands.keys[2], "keys in \(operands.k.path)")
    }
    return .dense(
      keys: try operands.tensor(operands.k, on: backend),
      values: try operands.tensor(operands.v, on: backend),
      lengths: try lengths?.tensor(on: backend))
  }

  private func paged(
    _ operands: AttentionOperands, _ table: AttentionArray, _ page: Int, _ lengths: AttentionArray,
    on backend: any Backend
  ) throws -> Attention.Source {
    let (batch, pages) = (operands.queries[0], operands.keys[0])
    guard operands.keys[2] == page else {
      throw Failure(
        "\(operands.k.path): has the shape \(operands.k.shape), pages of \(operands.keys[2]), not \(page)")
    }
    let places = try table.integers([batch, nil])
    let columns = table.shape[1]
    let counts = try Self.check(
      lengths, batch: batch, most: columns * page, "tokens in \(columns) pages of \(page)")
    for (sequence, count) in counts.enumerated() {
      for block in 0..<(count + page - 1) / page {
        let place = places[sequence * columns + block]
        guard (0..<pages).contains(place) else {
          throw Failure(
            "\(table.path): block \(block) of sequence \(sequence) is page \(place); \(operands.k.path) has \(pages)"
          )
        }
      }
    }
    let cache = try backend.makeCache(
      blocks: pages, blockLength: page, heads: operands.keys[1], keySize: operands.keys[3],
      valueSize: operands.values[3], type: operands.type)
    return .paged(
      cache: cache, table: try table.tensor(on: backend), lengths: try lengths.tensor(on: backend),
      longest: counts.max() ?? 0)
  }

  /// Brings pages of keys and values into the cache of a paged call.
  func fill(_ source: Attention.Source, _ operands: AttentionOperands, on backend: any Backend) throws {
    guard case .paged(let cache, _, _, _) = source, cache.blocks > 0 else { return }
    let tokens = cache.blocks * cache.blockLength
    let slots = try backend.tensor((0..<tokens).map { Int32($0) }, [tokens])
    let keys = try operands.tensor(operands.k, on: backend, as: .f32)
    let values = try operands.tensor(operands.v, on: backend, as: .f32)
    for block in 0..<cache.blocks {
      func page(_ tensor: Tensor) -> Tensor {
        let axes = tensor.shape, strides = tensor.strides
        return Tensor(
          shape: [axes[2], axes[1], axes[3]], strides: [strides[2], strides[1], strides[3]],
          offset: tensor.offset + block * strides[0], type: tensor.type, storage: tensor.storage)
      }
      let first = block * cache.blockLength
      try backend.append(
        keys: page(keys), values: page(values), slots: slots.slice(0, first..<first + cache.blockLength),
        to: cache)
    }
  }

  /// Cumulative lengths, and the longest sequence of them.
  private static func starts(_ path: String, _ array: AttentionArray, _ sizes: [Int]) throws
    -> (AttentionArray, longest: Int)
  {
    guard sizes[0] == 1 else {
      throw Failure("\(array.path): has the shape \(array.shape); a ragged batch has 1 in its first axis")
    }
    let file = try AttentionArray(path, .i32)
    let starts = try file.integers([nil])
    let lengths = zip(starts, starts.dropFirst()).map { $1 - $0 }
    guard starts.first == 0, starts.last == sizes[2], lengths.allSatisfy({ $0 >= 0 }) else {
      let shown = starts.prefix(8).map(String.init).joined(separator: ", ") + (starts.count > 8 ? ", …" : "")
      throw Failure(
        "\(path): holds [\(shown)]; starts begin with 0, never fall, and end with the \(sizes[2]) positions of "
          + "\(array.path)")
    }
    return (file, lengths.max() ?? 0)
  }

  @discardableResult
  private static func check(_ lengths: AttentionArray, batch: Int, most: Int, _ limit: String) throws -> [Int]
  {
    let counts = try lengths.integers([batch])
    for (sequence, count) in counts.enumerated() where count < 0 || count > most {
      throw Failure("\(lengths.path): sequence \(sequence) has length \(count); there are \(most) \(limit)")
    }
    return counts
  }
}
