import FlashCL
import FlashCLRuntime

extension Attention {
  private static let matrixFile = KernelFile("attention_matrix", including: ["attention", "fragment"])

  /// Products by matrix units, or their emulation; the weights, and queries of f32, are rounded to the type of the keys.
  static let matrix = Strategy<Attention>(
    "matrix",
    unfit: { op, traits in
      op.prefillUnfit ?? op.matrixUnfit ?? traits.unfit(items: 128, localBytes: op.matrixBytes)
    },
    rounding: { Rounding(to: $0.storedType, operands: $0.q.type == .f32) }
  ) { op, launcher in
    // 64 rows, 16 for each of 4 warps.
    try op.launchTiles(
      "attention_matrix", in: matrixFile, launcher, ["FRAGMENT_TYPE": op.storedType.rawValue], rows: 64,
      keys: 64, global: [(op.queryCount + 63) / 64 * 128, op.heads, op.batch], local: [128, 1, 1])
  }

  /// The type of keys and values.
  private var storedType: ElementType {
    switch source {
    case .dense(let keys, _, _), .ragged(let keys, _, _, _): keys.type
    case .paged(let cache, _, _, _): cache.type
    }
  }

  private var matrixUnfit: String? {
    guard [.f16, .bf16].contains(storedType), [.f32, storedType].contains(q.type) else {
      return "made for keys in f16 and bf16"
    }
    switch options.kind {
    case .scaled, .dot: break
    default: return "made for scores that are products"
    }
    if options.positions?.contentBias != nil { return "made for queries as they are stored" }
    let isWhole = [q.columns, y.columns].allSatisfy { $0 % 16 == 0 && $0 <= 128 }
    return isWhole ? nil : "needs heads of whole sixteens, at most 128"
  }

  /// A row of local memory is two elements to a word and four words more; what warps exchange is at most six words an item, of
  /// which rows see which keys four a row.
  private var matrixBytes: Int { 4 * (64 * (q.columns / 2 + 4 + y.columns / 2 + 4) + 6 * 128 + 4 * 64 + 2) }
}
