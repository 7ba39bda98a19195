/// Writes new keys and values into a cache, the keys rotated on the way where a rope table is given; with them the same tokens'
/// queries, which are rotated where they lie.
///
/// Shapes: keys `[tokens, Hkv, D]`, values `[tokens, Hkv, Dv]`, queries `[tokens, Hq, D]` views; slots `[tokens]` i32 (see
/// `KeyValueCache`); positions `[tokens]` i32, read for the rotation only. A slot outside the cache is not written.
public struct CacheAppend: Operation {
  public static let name = "cache_append"
  public let keys: Tensor  // [tokens, Hkv, D]
  public let values: Tensor  // [tokens, Hkv, Dv]
  public let slots: Tensor  // [tokens] i32
  public let positions: Tensor?  // [tokens] i32
  public let table: RopeTable?
  public let queries: Tensor?  // [tokens, Hq, D]; rotated in place
  public let cache: KeyValueCache

  public init(
    keys: Tensor, values: Tensor, slots: Tensor, positions: Tensor? = nil, table: RopeTable? = nil,
    queries: Tensor? = nil, cache: KeyValueCache
  ) {
    self.keys = keys
    self.values = values
    self.slots = slots
    self.positions = positions
    self.table = table
    self.queries = queries
    self.cache = cache
  }

  public var inputs: [Tensor] { [keys, values, slots] + (positions.map { [$0] } ?? []) }
  public var outputs: [Tensor] { queries.map { [$0] } ?? [] }
  public var cost: Cost {
    let turned = Double(keys.count + (queries?.count ?? 0))
    return Cost(flops: table == nil ? 0 : 3 * turned, bytes: 8 * (turned + Double(values.count)))
  }

  public func validate() throws {
    try keys.require(Self.name, "keys", [nil, cache.heads, cache.keySize], dense: false)
    try values.require(Self.name, "values", [keys.shape[0], cache.heads, cache.valueSize], dense: false)
    try slots.require(Self.name, "slots", [keys.shape[0]], [.i32])
    guard keys.strides[2] == 1, values.strides[2] == 1 else {
      throw FlashCLError.shape("\(Self.name): the elements of one key or value must be adjacent")
    }
    if let queries {
      try queries.require(
        Self.name, "queries", [keys.shape[0], nil, cache.keySize], [keys.type], dense: false)
      guard queries.strides[2] == 1 else {
        throw FlashCLError.shape("\(Self.name): the elements of one query must be adjacent")
      }
      guard table != nil else {
        throw FlashCLError.shape("\(Self.name): queries are turned by a rope table, and there is none")
      }
    }
    guard let table else { return }
    try table.validate(Self.name, size: cache.keySize)
    guard let positions else { throw FlashCLError.shape("\(Self.name): a rope table needs positions") }
    try positions.require(Self.name, "positions", [keys.shape[0]], [.i32])
  }
}

extension Backend {
  /// Writes keys and values of new tokens into the cache; see `CacheAppend`.
  public func append(
    keys: Tensor, values: Tensor, slots: Tensor, positions: Tensor? = nil, table: RopeTable? = nil,
    turning queries: Tensor? = nil, to cache: KeyValueCache
  ) throws {
    try run(
      CacheAppend(
        keys: keys, values: values, slots: slots, positions: positions, table: table, queries: queries,
        cache: cache))
  }
}
