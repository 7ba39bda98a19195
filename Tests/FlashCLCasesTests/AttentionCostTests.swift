import FlashCL
import Testing

/// What benchmarks divide by their seconds.
@Suite struct AttentionCostTests {
  private func tensor(_ shape: [Int]) -> Tensor { Tensor(shape: shape, type: .f32, storage: Storage()) }

  private func decode(_ type: ElementType, keys: Int, window: Int = -1) -> Cost {
    let cache = KeyValueCache(
      blocks: keys / 16, blockLength: 16, heads: 8, keySize: 64, valueSize: 32, type: type, storage: Storage()
    )
    return Attention(
      q: tensor([1, 8, 1, 64]),
      source: .paged(
        cache: cache, table: tensor([1, keys / 16]), lengths: tensor([1]), longest: keys),
      options: AttentionOptions(mask: .causal(.lowerRight).and(.window(left: window, right: -1))),
      phase: .decode, y: tensor([1, 8, 1, 32])
    ).cost
  }

  /// q and y are f32; 96 elements of a key and its value are 384, 192 or 102 bytes.
  @Test(arguments: [(ElementType.f32, 384), (.f16, 192), (.bf16, 192), (.q8_0, 102)])
  func aCacheCountsAsItIsStored(type: ElementType, token: Int) {
    #expect(decode(type, keys: 4096).bytes == Double(4 * 8 * 96 + 8 * 4096 * token))
    #expect(decode(type, keys: 4096).flops == Double(2 * 8 * 4096 * 96))
  }

  @Test func aWindowReadsItsKeysAlone() {
    #expect(decode(.f16, keys: 4096, window: 255).bytes == Double(4 * 8 * 96 + 8 * 256 * 192))
    #expect(decode(.f16, keys: 4096, window: 255).flops == Double(2 * 8 * 256 * 96))
  }
}
