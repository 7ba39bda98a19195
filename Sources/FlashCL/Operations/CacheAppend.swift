/// Writes new keys and values into a cache, the keys rotated on the way where a rope table is given.
///
/// Shapes: keys `[tokens, Hkv, D]`, values `[tokens, Hkv, Dv]` views; slots `[tokens]` i32 (see `KeyValueCache`); positions
/// `[tokens]` i32, read for the rotation only. A slot outside the cache is not written.
public struct CacheAppend: Operation {
  public static let name = "cache_append"
  public let keys: Tensor  // [tokens, Hkv, D]
  public let values: Tensor  // [tokens, Hkv, Dv]
  public let slots: Tensor  // [tokens] i32
  public let positions: Tensor?  // [tokens] i32
  public let table: RopeTable?
  public let cache: KeyValueCache

  public init(
    keys: Tensor, values: Tensor, slots: Tensor, positions: Tensor? = nil, table: RopeTable? = nil,
    cache: KeyValueCache
  ) {
    self.keys = keys
    self.values = values
    self.slots = slots
    self.positions = positions
    self.table = table
    self.cache = cache
  }

  public var inputs: [Tensor] { [keys, values, slots] + (positions.map { [$0] } ?? []) }
  public var outputs: [Tensor] { [] }
  public var cost: Cost {
    let elements = Double(keys.count + values.count)
    return Cost(flops: table == nil ? 0 : 3 * Double(keys.count), bytes: 8 * elements)
  }

  public func validate() throws {
    try keys.require(Self.name, "keys", [nil, cache.heads, cache.keySize], dense: false)
    try values.require(Self.name, "values", [keys.shape[0], cache.heads, cache.valueSize], dense: false)
    try slots.require(Self.name, "slots", [keys.shape[0]], [.i32])
    guard keys.strides[2] == 1, values.strides[2] == 1 else {
      throw FlashCLError.shape("\(Self.name): the elements of one key or value must be adjacent")
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
    to cache: KeyValueCache
  ) throws {
    try run(
      CacheAppend(
        keys: keys, values: values, slots: slots, positions: positions, table: table, cache: cache))
  }
}
