/// What attention computes between q·kᵀ and the weighted sum of values; everything has a default and composes.
///
/// The order is fixed: kind, scale, softcap, bias and position terms, `scoreMod`, masks, sinks. With p = i + Lk − Lq as in
/// `AttentionMask`:
///
///     score = scale · kind(q, k)
///     score = softcap · tanh(score / softcap)
///     score += bias[b, h, i, j] − slope[h] · |p − j| + relative[h, clip(j − i)] + scale · content terms (RelativePositions)
///     score = scoreMod(score, b, h, i, j)
///     score = −∞ where a mask does not keep (i, j), or where it is −∞ already: the key then takes no part at all
///     y = Σ e^score · v / (Σ e^score + e^sink[h])
///
/// | PyTorch | FlashAttention | MLX | here |
/// |---|---|---|---|
/// | `is_causal=True` | | | `mask: .causal(.upperLeft)` |
/// | `causal_lower_right` | `causal=True` | `mask="causal"` | `mask: .causal(.lowerRight)` |
/// | `attn_mask` (bool) | | `mask` (bool) | `mask: .tensor(t)` |
/// | `attn_mask` (float) | | `mask` (float) | `bias: t` |
/// | `scale` | `softmax_scale` | `scale` | `scale` |
/// | `enable_gqa` | by shapes | by shapes | by shapes |
/// | flex `score_mod`, `mask_mod` | | | `scoreMod`, `maskMod` |
/// | flex `BlockMask` | | | `mask: .blocks(map)` |
/// | | `window_size=(l, r)` | | `mask: .window(left: l, right: r)` |
/// | | `alibi_slopes` | | `alibi: .slopes(t)` |
/// | | `softcap` | | `softcap` |
/// | | | `sinks` | `sinks` |
/// | | `cu_seqlens_q`, `cu_seqlens_k` | | `Attention.Rows.ragged`, `Attention.Source.ragged` |
/// | | `page_table`, `cache_seqlens` | | `Attention.Source.paged` |
/// | `return_lse` | `return_softmax_lse` | | `logSumExp` |
public struct AttentionOptions {
  public var mask: AttentionMask = .all
  public var kind: ScoreKind = .scaled
  public var choice: Choice = .soft
  /// Multiplies every score; nil is 1/√D for `.scaled` and 1 for the other kinds.
  public var scale: Float?
  /// Bounds scores: c · tanh(score / c).
  public var softcap: Float?
  /// Added to scores, f32, `[B, Hq, Lq, Lk]` or 1 in any axis; −∞ masks.
  public var bias: Tensor?
  public var alibi: ALiBi?
  /// Added to scores by distance, f32 `[Hq, 2R + 1]` or `[1, 2R + 1]`: column clip(j − i, −R, R) + R.
  public var relative: Tensor?
  /// Where distances of `relative` start: `.upperLeft` takes j − i, `.lowerRight` j − p.
  public var relativeAlignment: AttentionMask.Alignment = .upperLeft
  public var positions: RelativePositions?
  public var focus: Focus?
  /// Adds e^sink to the denominator of each row of a head, f32 `[Hq]`.
  public var sinks: Tensor?
  public var scoreMod: ScoreExpression?
  public var maskMod: ScoreExpression?

  public init(
    mask: AttentionMask = .all, kind: ScoreKind = .scaled, choice: Choice = .soft, scale: Float? = nil,
    softcap: Float? = nil, bias: Tensor? = nil, alibi: ALiBi? = nil, relative: Tensor? = nil,
    relativeAlignment: AttentionMask.Alignment = .upperLeft, positions: RelativePositions? = nil,
    focus: Focus? = nil, sinks: Tensor? = nil, scoreMod: ScoreExpression? = nil,
    maskMod: ScoreExpression? = nil
  ) {
    self.mask = mask
    self.kind = kind
    self.choice = choice
    self.scale = scale
    self.softcap = softcap
    self.bias = bias
    self.alibi = alibi
    self.relative = relative
    self.relativeAlignment = relativeAlignment
    self.positions = positions
    self.focus = focus
    self.sinks = sinks
    self.scoreMod = scoreMod
    self.maskMod = maskMod
  }
}

/// How alike a query and a key are. Vaswani et al. 2017; Luong et al. 2015; Bahdanau et al. 2015; Nadaraya, Watson 1964.
public enum ScoreKind {
  /// q·k / √D
  case scaled
  /// q·k
  case dot
  /// qᵀ W k with W f32 `[D, Dk]`, or `[Hq, D, Dk]`
  case general(Tensor)
  /// −½ |q − k|²
  case gaussian
  /// wᵀ tanh(Wq q + Wk k) with w f32 `[M]`, Wq and Wk f32 `[D, M]`; nil where q or k has been projected already
  case additive(query: Tensor?, key: Tensor?, score: Tensor)
}

/// What becomes of the scores.
public enum Choice: Equatable, Sendable {
  /// The mean of the values weighted by the softmax.
  case soft
  /// The value of the greatest score, the first of equals.
  case hard
  /// One value drawn by the softmax, the same for equal seed, head, query and key on every device: the key with the
  /// greatest score + g(seed, h, i, j), g Gumbel noise (`gumbel`).
  case sampled(seed: UInt64)
}

/// Linear biases by distance: −slope[h] · |p − j|. Source: Press et al. 2022.
public enum ALiBi {
  /// `ALiBi.slopes(heads:)`
  case standard
  /// f32 `[Hq]`
  case slopes(Tensor)

  /// 2^(−8h/H), h = 1 … H, where H is a power of two; else those of the next lower power n, and of 2n every other one.
  public static func slopes(heads: Int) -> [Float] {
    let n = 1 << (Int.bitWidth - 1 - max(heads, 1).leadingZeroBitCount)
    return (0..<heads).map { h in
      let exponent = h < n ? 8 * Double(h + 1) / Double(n) : 4 * Double(2 * (h - n) + 1) / Double(n)
      return Float(powerOfTwo(-exponent))
    }
  }

  /// 2^x by the 26 squarings-and-roots of its binary digits: this module has no mathematics library.
  private static func powerOfTwo(_ x: Double) -> Double {
    let whole = x.rounded(.down)
    var (fraction, root, result) = (x - whole, 2.0, 1.0)
    for _ in 0..<52 {
      root = root.squareRoot()
      fraction *= 2
      if fraction >= 1 {
        result *= root
        fraction -= 1
      }
    }
    return Double(sign: .plus, exponent: Int(whole), significand: result)
  }
}

/// T5's bias by buckets of distances, as a `relative` table. Source: Raffel et al. 2020.
public enum T5Bias {
  /// The table `[heads, 2·maxDistance + 1]` of `weights` `[buckets, heads]`: distances of `maxDistance` and more share
  /// the last bucket.
  public static func table(
    weights: [Float], buckets: Int, heads: Int, bidirectional: Bool, maxDistance: Int = 128
  ) throws -> [Float] {
    guard weights.count == buckets * heads, buckets >= (bidirectional ? 4 : 2), maxDistance > buckets / 2
    else {
      throw FlashCLError.shape(
        "T5's bias has \(weights.count) weights for \(buckets) buckets of \(heads) heads, distances up to \(maxDistance)"
      )
    }
    var table: [Float] = []
    for head in 0..<heads {
      for distance in -maxDistance...maxDistance {
        let bucket = bucket(distance, buckets, bidirectional, maxDistance)
        table.append(weights[bucket * heads + head])
      }
    }
    return table
  }

  /// The bucket of key-minus-query `distance`: half of them exact, the rest in equal steps of the logarithm.
  static func bucket(_ distance: Int, _ buckets: Int, _ bidirectional: Bool, _ maxDistance: Int) -> Int {
    let count = bidirectional ? buckets / 2 : buckets
    let base = bidirectional && distance > 0 ? count : 0
    let n = bidirectional ? abs(distance) : max(0, -distance)
    let exact = count / 2
    if n < exact { return base + n }
    // exact + ⌊log(n / exact) / log(maxDistance / exact) · (count − exact)⌋, by comparing powers:
    // step s is reached where (n / exact)^(count − exact) ≥ (maxDistance / exact)^s.
    var step = 0
    let left = power(Double(n) / Double(exact), count - exact)
    while step + 1 < count - exact,
      left >= power(Double(maxDistance) / Double(exact), step + 1) * (1 - 1e-12)
    {
      step += 1
    }
    return base + exact + step
  }

  private static func power(_ x: Double, _ n: Int) -> Double { (0..<n).reduce(1) { result, _ in result * x } }
}

/// Positions that meet the content of q, k and v: Shaw's representations, Transformer-XL's and DeBERTa's terms.
///
/// With r = clip(j − p, −R, R) + R a row of each table:
///
///     score = scale · ((q + contentBias[h]) · k + (q + positionBias[h]) · keys[h, r] + k · queries[h, r])
///     y = Σ weight · (v + values[h, r])
///
/// | | contentBias | positionBias | keys | queries | values |
/// |---|---|---|---|---|---|
/// | Shaw et al. 2018 | | | a^K | | a^V |
/// | Transformer-XL, XLNet | u | v | W_kR · R | | |
/// | DeBERTa (scale 1/√(3D)) | | | W_k,r · P | W_q,r · P | |
///
/// No term is materialised over queries × keys.
public struct RelativePositions {
  public var contentBias: Tensor?  // [Hq, D] f32
  public var positionBias: Tensor?  // [Hq, D] f32
  public var keys: Tensor?  // [Hq or 1, 2R + 1, D] f32
  public var queries: Tensor?  // [Hq or 1, 2R + 1, D] f32
  public var values: Tensor?  // [Hq or 1, 2R + 1, Dv] f32

  public init(
    contentBias: Tensor? = nil, positionBias: Tensor? = nil, keys: Tensor? = nil, queries: Tensor? = nil,
    values: Tensor? = nil
  ) {
    self.contentBias = contentBias
    self.positionBias = positionBias
    self.keys = keys
    self.queries = queries
    self.values = values
  }
}

/// Local attention around a predicted position c: keys |j − c| ≤ radius take part; with `gaussian` each weight is
/// multiplied, after the softmax, by e^(−(j − c)² / 2σ²), σ = radius / 2. Source: Luong et al. 2015, local-p.
public struct Focus {
  public var centers: Tensor  // f32 [B, Hq, Lq], 1 in any axis
  public var radius: Float
  public var gaussian: Bool

  public init(centers: Tensor, radius: Float, gaussian: Bool) {
    self.centers = centers
    self.radius = radius
    self.gaussian = gaussian
  }
}

/// An expression of OpenCL C that changes scores (`scoreMod`) or keeps pairs (`maskMod`), compiled into the kernels.
///
/// It sees `score` (float; `scoreMod` only), `b`, `h` (of the query), `i`, `j` (int, from 0) and its constants by name,
/// each an array of float or int. A `maskMod` that is not 0 keeps the pair.
///
///     ScoreExpression("score - 0.5f * abs(i - j)")
///     ScoreExpression("ids[i] == ids[j]", constants: ["ids": documents])
///
/// `truth` is the same in Swift, for the reference; without it the reference reads the expression itself (numbers,
/// variables, `constant[index]`, arithmetic, comparisons, logic, bits, `?:`, casts and the common functions).
public struct ScoreExpression {
  public typealias Truth = @Sendable (_ score: Double, _ b: Int, _ h: Int, _ i: Int, _ j: Int) -> Double

  public let text: String
  public let constants: KeyValuePairs<String, Tensor>  // f32 or i32, dense
  public let truth: Truth?

  public init(_ text: String, constants: KeyValuePairs<String, Tensor> = [:], truth: Truth? = nil) {
    self.text = text
    self.constants = constants
    self.truth = truth
  }

  func validate(_ operation: String, _ name: String) throws {
    // One expression: nothing that could end it, begin a statement or speak to the preprocessor.
    if let bad = text.first(where: { ";{}#\\\n\r\"'`".contains($0) }) {
      throw FlashCLError.shape("\(operation): \(name) '\(text)' is not one expression: it has a '\(bad)'")
    }
    var depth = 0
    for character in text {
      if character == "(" { depth += 1 }
      if character == ")" { depth -= 1 }
      if depth < 0 { break }
    }
    guard depth == 0, text.contains(where: { $0 != " " }), !text.contains("//"), !text.contains("/*") else {
      throw FlashCLError.shape(
        "\(operation): \(name) '\(text)' is not one expression: it is empty, has a comment or unequal parentheses"
      )
    }
    let reserved: Set = ["score", "b", "h", "i", "j"]
    for (constant, tensor) in constants {
      let isName =
        constant.first.map { $0.isLetter || $0 == "_" } == true
        && constant.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
      guard isName, !reserved.contains(constant) else {
        throw FlashCLError.shape("\(operation): \(name) cannot have a constant named '\(constant)'")
      }
      try tensor.require(operation, "\(name)'s \(constant)", tensor.shape.map { $0 }, [.f32, .i32])
    }
  }
}
