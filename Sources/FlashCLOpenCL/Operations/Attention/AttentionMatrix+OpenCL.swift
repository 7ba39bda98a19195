import FlashCL
import FlashCLRuntime

extension Attention {
  private static let matrixFiles = FragmentLayout.files("attention_matrix", including: ["attention"])
  private static let matrixSplitFiles = FragmentLayout.files(
    "attention_matrix", including: ["cache", "attention", "attention_decode"])

  /// Products by matrix units, or their emulation; the weights, and queries of f32, are rounded to the type of the keys.
  static let matrix = Strategy<Attention>(
    "matrix",
    unfit: { op, traits in
      op.prefillUnfit ?? op.matrixUnfit
        ?? traits.unfit(items: 4 * traits.fragments.lanes, localBytes: op.matrixBytes(warps: 4, traits))
    },
    rounding: { Rounding(to: $0.storedType, operands: $0.q.type == .f32) }
  ) { op, launcher in
    // 64 rows, 16 for each of 4 warps.
    let fragments = launcher.traits.fragments
    let items = 4 * fragments.lanes
    try op.launchTiles(
      "attention_matrix", in: matrixFiles[fragments.unit]!, launcher, fragments.defines(op.storedType),
      rows: 64,
      keys: 64, global: [(op.queryCount + 63) / 64 * items, op.heads, op.batch], local: [items, 1, 1])
  }

  /// The type of keys and values.
  private var storedType: ElementType {
    switch source {
    case .dense(let keys, _, _), .ragged(let keys, _, _, _): keys.type
    case .paged(let cache, _, _, _): cache.type
    }
  }

  /// The same of decode, over one split of the keys for all rows that read them.
  static let matrixSplit = Strategy<Attention>(
    "matrix_split",
    unfit: { op, traits in
      if let reason = op.decodeUnfit ?? op.matrixUnfit { return reason }
      // What decode's most rows need, so that a row's bits do not follow from how many there are.
      if op.queryCount > 16 { return "made for 16 new tokens at most" }
      let warps = op.warps(rows: 16)
      return traits.unfit(
        items: traits.fragments.lanes * warps, localBytes: op.matrixBytes(warps: warps, traits))
    },
    rounding: { Rounding(to: $0.storedType, operands: $0.q.type == .f32) }
  ) { op, launcher in
    let warps = op.warps(rows: op.queryCount)
    let fragments = launcher.traits.fragments
    try op.launchPacked(
      "attention_matrix_split", in: matrixSplitFiles[fragments.unit]!, launcher,
      fragments.defines(op.storedType) + ["WARPS": "\(warps)", "TILE": "64"], items: fragments.lanes * warps)
  }

  /// Warps for `rows` rows of the query heads that read one key head, 16 each; four at least, to bring the keys.
  private func warps(rows: Int) -> Int {
    var warps = 4
    while 16 * warps < heads / keyHeads * rows { warps *= 2 }
    return warps
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

  /// A row of local memory is two elements to a word and four words more, of 64 keys and as many values; which of 64 keys a row
  /// sees is two words; and what warps exchange.
  private func matrixBytes(warps: Int, _ traits: Traits) -> Int {
    let exchanged = traits.fragments.exchangedWords(warps: warps)
    return 4 * (64 * (q.columns / 2 + 4 + y.columns / 2 + 4) + exchanged + 2 * 16 * warps + 3)
  }
}
