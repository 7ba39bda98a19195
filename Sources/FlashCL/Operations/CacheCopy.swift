/// Copies whole blocks inside a cache: block to[i] becomes what block from[i] is.
///
/// Shapes: from, to `[count]` i32, blocks of `cache`. No block may be written twice or both read and written in one call. A
/// pair with a block outside the cache is passed over. This is how a beam that is continued twice gets a last, partly filled
/// block of its own; full blocks are shared through the table.
public struct CacheCopy: Operation {
  public static let name = "cache_copy"
  public let from: Tensor  // [count] i32
  public let to: Tensor  // [count] i32
  public let cache: KeyValueCache

  public init(from: Tensor, to: Tensor, cache: KeyValueCache) {
    self.from = from
    self.to = to
    self.cache = cache
  }

  public var inputs: [Tensor] { [from, to] }
  public var outputs: [Tensor] { [] }
  public var cost: Cost {
    let token = cache.heads * (cache.type.bytes(cache.keySize) + cache.type.bytes(cache.valueSize))
    return Cost(flops: 0, bytes: 2 * Double(from.count * cache.blockLength * token))
  }

  public func validate() throws {
    try from.require(Self.name, "from", [nil], [.i32])
    try to.require(Self.name, "to", [from.count], [.i32])
  }
}

extension Backend {
  /// Copies blocks of a cache; see `CacheCopy`.
  public func copyBlocks(from: Tensor, to: Tensor, of cache: KeyValueCache) throws {
    try run(CacheCopy(from: from, to: to, cache: cache))
  }
}
