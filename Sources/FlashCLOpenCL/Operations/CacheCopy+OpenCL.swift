import FlashCL
import FlashCLRuntime

extension CacheCopy: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<CacheCopy>] { [items] }

  private static let file = KernelFile("cache_copy")

  private static let items = Strategy<CacheCopy>("items") { op, launcher in
    let (cache, storage) = (op.cache, try op.cache.buffers())
    // Bytes of a block in each buffer: elements, and in q8_0 an f16 scale for 32 of them.
    let scale = { (size: Int) in cache.blockLength * cache.heads * size / 32 * 2 }
    let element = { (size: Int) in
      cache.blockLength * cache.heads * (cache.type == .q8_0 ? size : cache.type.bytes(size))
    }
    let parts: [(Buffer?, Int)] = [
      (storage.keys, element(cache.keySize)), (storage.values, element(cache.valueSize)),
      (storage.keyScales, scale(cache.keySize)), (storage.valueScales, scale(cache.valueSize)),
    ]
    guard op.from.count > 0 else { return }
    for case (let buffer?, let bytes) in parts {
      try launcher.launch(
        "cache_copy_items", in: file, [:], global: [bytes / 16, op.from.count],
        [.tensor(op.from), .tensor(op.to), .buffer(buffer), .uint(cache.blocks), .uint(bytes / 16)])
    }
  }
}
