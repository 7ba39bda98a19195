import FlashCL

extension CacheCopy: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] { [] }
  public func magnitude() throws -> [[Double]] { [] }

  public func execute() throws {
    let stored = try cache.reference()
    for (source, target) in zip(try from.integers(), try to.integers()) {
      guard (0..<cache.blocks).contains(source), (0..<cache.blocks).contains(target) else { continue }
      func slots(_ block: Int) -> Range<Int> { block * cache.blockLength..<(block + 1) * cache.blockLength }
      for tensor in [stored.keys, stored.values] {
        try tensor.slice(0, slots(target)).store(tensor.slice(0, slots(source)).load())
      }
    }
  }
}
