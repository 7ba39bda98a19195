import FlashCL
import FlashCLRuntime

/// What the options of one attention call add to its kernels: the text that stands before attention.cl, which says there
/// what each function means, and the operands which that text reads.
///
/// Every kind of score and mask is a line of OpenCL C below; the user's own expressions go the same way.
struct AttentionTerms {
  private(set) var operands: [Operand] = []
  private var declarations = ""
  private var names = ""
  private var functions = ""
  /// Statements that change `score`, and conditions that keep a pair, in the language of one element or of sixteen rows.
  private var scores: [(Language) -> String] = []
  private var keeps: [(Language) -> String] = []
  private var weight: ((Language) -> String)?

  /// One element, or sixteen rows in lanes: there `score` is a float16, `i` and `p` are int16, b, h and j stay single.
  private enum Language {
    case one, sixteen

    var suffix: String { self == .one ? "" : "16" }
    /// An int as float.
    func float(_ int: String) -> String { self == .one ? "(float)(\(int))" : "convert_float16(\(int))" }
    /// A condition as 0 or 1: of vectors, true is −1.
    func count(_ condition: String) -> String { "((\(condition)) & 1)" }
    /// A call of a user's expression, which is made one element at a time.
    func call(_ function: String, _ score: String?) -> String {
      "\(function)\(suffix)(\(score.map { "\($0), " } ?? "")b, h, i, j TERMS)"
    }
  }

  /// What an axis of an operand is read at: an index of the pair, or the row of a table of distances −radius … radius.
  private enum Index: ExpressibleByStringLiteral {
    case plain(String)
    case row(distance: String, radius: Int)

    init(stringLiteral text: String) { self = .plain(text) }
    static func row(_ distance: String, of table: Tensor) -> Index {
      .row(distance: distance, radius: table.shape[1] / 2)
    }

    /// True where sixteen rows have sixteen of it.
    var variesByRow: Bool {
      switch self {
      case .plain(let text): text == "i"
      case .row: true
      }
    }
    func text(_ language: Language) -> String {
      switch self {
      case .plain(let text): text
      case .row(let distance, let radius): "clipped\(language.suffix)(\(distance), \(radius))"
      }
    }
  }

  /// Empty where nothing is added: the kernels then have no test at all.
  var text: String {
    if operands.isEmpty && scores.isEmpty && keeps.isEmpty { return functions }
    var text = "#define TERMS_ARGUMENTS \(declarations)\n#define TERMS \(names)\n"
    if !keeps.isEmpty { text += "#define HAS_KEEP 1\n" }
    if !scores.isEmpty { text += "#define HAS_SCORE 1\n" }
    if weight != nil { text += "#define HAS_WEIGHT 1\n" }
    text += Self.lookups + functions
    for language in [Language.one, .sixteen] {
      let n = language.suffix
      let place = "int b, int h, int\(n) i, int j"
      if !keeps.isEmpty {
        text += "INLINE int\(n) kept\(n)(\(place), int\(n) p TERMS_ARGUMENTS) {\n  return "
        text += keeps.map { $0(language) }.joined(separator: " * ") + ";\n}\n"
      }
      if !scores.isEmpty {
        text +=
          "INLINE float\(n) scored\(n)(float\(n) score, float scale, \(place), int\(n) p TERMS_ARGUMENTS) {\n"
        text += scores.map { "  \($0(language))\n" }.joined() + "  return score;\n}\n"
      }
      if let weight {
        text += "INLINE float\(n) weighed\(n)(\(place) TERMS_ARGUMENTS) { return \(weight(language)); }\n"
      }
    }
    return text
  }

  /// An element of a table for a row, and for each of sixteen rows. Integer maximum and clamp are spelt out: some
  /// implementations have them wrong for vectors with a single limit.
  private static let helpers = """
    INLINE int greater(int a, int b) { return a > b ? a : b; }
    INLINE int16 greater16(int16 a, int16 b) { return select(b, a, a > b); }
    INLINE int clipped(int x, int radius) { return (x < -radius ? -radius : x > radius ? radius : x) + radius; }
    INLINE int16 clipped16(int16 x, int radius) {
      int16 low = select(x, (int16)-radius, x < -radius);
      return select(low, (int16)radius, low > radius) + radius;
    }

    """
  private static let lookups =
    helpers
    + ["float", "uchar"].map { type in
      let vector = type == "uchar" ? "int" : type
      return """
        INLINE \(vector) lookup_\(type)(__global const \(type) *table, ulong stride, int row) {
          return table[row * stride];
        }
        INLINE \(vector)16 lookup_\(type)16(__global const \(type) *table, ulong stride, int16 row) {
          return (\(vector)16)(
            table[row.s0 * stride], table[row.s1 * stride], table[row.s2 * stride], table[row.s3 * stride],
            table[row.s4 * stride], table[row.s5 * stride], table[row.s6 * stride], table[row.s7 * stride],
            table[row.s8 * stride], table[row.s9 * stride], table[row.sa * stride], table[row.sb * stride],
            table[row.sc * stride], table[row.sd * stride], table[row.se * stride], table[row.sf * stride]);
        }

        """
    }.joined()

  init(_ op: Attention, _ launcher: Launcher) throws {
    let options = op.options
    add(options.softcap, options.bias)
    try addDistances(options, heads: op.heads, launcher)
    addPositions(options.positions, op)
    if let mod = options.scoreMod {
      let function = define(mod, "scoreMod", takesScore: true)
      scores.append { "score = \($0.call(function, "score"));" }
    }
    let pattern = options.mask.split.pattern
    if pattern != .all { keeps.append(try kept(pattern, op, launcher)) }
    if let mod = options.maskMod {
      let function = define(mod, "maskMod", takesScore: false)
      keeps.append { $0.count("\($0.call(function, nil)) != 0") }
    }
    if let focus = options.focus { add(focus) }
    if pattern.hasCounts {
      scores.append { "score += log(\($0.float("kept\($0.suffix)(b, h, i, j, p TERMS)")));" }
    }
    if let sinks = options.sinks {
      _ = element("sinks", sinks, "float", [])
      functions += "#define HAS_SINK 1\n"
    }
    if case .additive(_, _, let score) = options.kind { _ = element("score", score, "float", []) }
  }

  // MARK: - Scores

  private mutating func add(_ softcap: Float?, _ bias: Tensor?) {
    if let softcap {
      scores.append { "score = \(softcap)f * tanh\($0.suffix)(score / \(softcap)f);" }
    }
    if let bias {
      let bias = element("bias", bias, "float", ["b", "h", "i", "j"])
      // A bias of −∞ masks: not even a score that is no number passes.
      scores.append { language in
        "{ float\(language.suffix) x = \(bias(language)); score = x == -INFINITY ? x : score + x; }"
      }
    }
  }

  private mutating func addDistances(_ options: AttentionOptions, heads: Int, _ launcher: Launcher) throws {
    switch options.alibi {
    case .slopes(let slopes):
      let slope = element("slopes", slopes, "float", ["h"])
      scores.append { "score -= \(slope($0)) * \($0.float("abs(p - j)"));" }
    case .standard:
      let buffer = try launcher.tables.buffer(of: .all, [heads], launcher.queue) {
        ALiBi.slopes(heads: heads).withUnsafeBytes { [UInt8]($0) }
      }
      let table = table(buffer, "float")
      scores.append { "score -= \(table)[h] * \($0.float("abs(p - j)"));" }
    case nil: break
    }
    if let table = options.relative {
      let distance = options.relativeAlignment == .upperLeft ? "j - i" : "j - p"
      let bias = element("relative", table, "float", ["h", .row(distance, of: table)])
      scores.append { "score += \(bias($0));" }
    }
  }

  private mutating func addPositions(_ positions: RelativePositions?, _ op: Attention) {
    guard let positions else { return }
    if positions.keys != nil || positions.queries != nil {
      functions += """
        INLINE float product(__global const X_T *x, __global const float *bias, __global const float *table) {
          float16 sums = 0.0f;
          int d = 0;
          for (; d + 16 <= D; d += 16)
            sums = fma(X_LOAD16(x, d) + (bias ? vload16(0, bias + d) : (float16)0.0f), vload16(0, table + d), sums);
          float sum = sum16(sums);
          for (; d < D; ++d) sum = fma(X_LOAD(x, d) + (bias ? bias[d] : 0.0f), table[d], sum);
          return sum;
        }

        """
    }
    if let keys = positions.keys {
      let q = element("q", op.q, "X_T", ["b", "h", "i"])
      let bias = positions.positionBias.map { element("position_bias", $0, "float", ["h"]) }
      let table = element("relative_keys", keys, "float", ["h", .row("j - p", of: keys)])
      define(
        "position_of_keys",
        "product(&\(q(.one)), \(bias.map { "&\($0(.one))" } ?? "0"), &\(table(.one)))")
    }
    if let queries = positions.queries, case .dense(let keys, _, _) = op.source {
      let k = element("k", keys, "X_T", ["b", .plain("h / \(op.heads / op.keyHeads)"), "j"])
      let table = element("relative_queries", queries, "float", ["h", .row("j - p", of: queries)])
      define("position_of_queries", "product(&\(k(.one)), 0, &\(table(.one)))")
    }
    if let values = positions.values {
      argument(
        "__global const float *t_pv, ulong t_pv_at, ulong t_pv_h, int t_pv_r",
        ["t_pv", "t_pv_at", "t_pv_h", "t_pv_r"])
      operands += [
        .tensor(values), .ulong(values.shape[0] == 1 ? 0 : values.strides[0]), .int(values.shape[1] / 2),
      ]
      functions += "#define HAS_VALUE 1\n"
    }
  }

  /// A term scale · `expression` of the score, which is made one element at a time.
  private mutating func define(_ name: String, _ expression: String) {
    functions += """
      INLINE float \(name)(int b, int h, int i, int j, int p TERMS_ARGUMENTS) { return \(expression); }
      INLINE float16 \(name)16(int b, int h, int16 i, int j, int16 p TERMS_ARGUMENTS) {
        float x[16];
        int rows[16], places[16];
        vstore16(i, 0, rows);
        vstore16(p, 0, places);
        for (int n = 0; n < 16; ++n) x[n] = \(name)(b, h, rows[n], j, places[n] TERMS);
        return vload16(0, x);
      }

      """
    scores.append { "score += scale * \(name)\($0.suffix)(b, h, i, j, p TERMS);" }
  }

  /// A function of the user's text, whose errors the compiler reports under `name`; returns the function's name.
  private mutating func define(_ mod: ScoreExpression, _ name: String, takesScore: Bool) -> String {
    var locals = ""
    for (constant, tensor) in mod.constants {
      let type = tensor.type == .i32 ? "int" : "float"
      let pointer = "t_\(name)_\(constant)"
      argument("__global const \(type) *\(pointer), ulong \(pointer)_at", [pointer, "\(pointer)_at"])
      operands.append(.tensor(tensor))
      locals += "  __global const \(type) *\(constant) = \(pointer) + \(pointer)_at;\n"
    }
    let function = takesScore ? "score_mod" : "mask_mod"
    let (type, score) = takesScore ? ("float", "float score, ") : ("int", "")
    functions += """
      INLINE \(type) \(function)(\(score)int b, int h, int i, int j TERMS_ARGUMENTS) {
      \(locals)  return (
      #line 1 "\(name)"
      \(mod.text)
      );
      }
      #line 1 "terms"
      INLINE \(type)16 \(function)16(\(takesScore ? "float16 score, " : "")int b, int h, int16 i, int j TERMS_ARGUMENTS) {
        \(type) x[16];
        int rows[16];
        \(takesScore ? "vstore16(score, 0, x);" : "")
        vstore16(i, 0, rows);
        for (int n = 0; n < 16; ++n) x[n] = \(function)(\(takesScore ? "x[n], " : "")b, h, rows[n], j TERMS);
        return vload16(0, x);
      }

      """
    return function
  }

  // MARK: - Masks

  private mutating func add(_ focus: Focus) {
    let center = element("centers", focus.centers, "float", ["b", "h", "i"])
    keeps.append { $0.count("fabs((float)j - \(center($0))) <= \(focus.radius)f") }
    guard focus.gaussian else { return }
    // e^(−(j − c)² / 2σ²) with σ = radius / 2
    let factor = -2 / (focus.radius * focus.radius)
    weight = { language in
      let distance = "((float)j - \(center(language)))"
      return "exp\(language.suffix)(\(factor)f * \(distance) * \(distance))"
    }
  }

  /// How often `mask` keeps key j for query i: an expression that is 0 or 1, or a count where the mask has counts.
  private mutating func kept(_ mask: AttentionMask, _ op: Attention, _ launcher: Launcher) throws
    -> (Language) -> String
  {
    switch mask {
    case .all: return { _ in "1" }
    case .causal(.upperLeft): return { $0.count("j <= i") }
    case .causal(.lowerRight): return { $0.count("j <= p") }
    case .window:
      let band = mask.split.band
      return { $0.count("(j >= p - \(band.left)) & (j <= p + \(band.right))") }
    case .atrous(let k): return { $0.count("(j - p) % \(k) == 0") }
    case .global(let ids):
      var flags = [UInt8](repeating: 0, count: max(op.keyCount, 1))
      for id in ids where id < flags.count { flags[id] = 1 }
      let name = table(try launcher.tables.buffer(of: mask, [flags.count], launcher.queue) { flags }, "uchar")
      // A query before the first key is none of them.
      return { language in
        let n = language.suffix
        return language.count(
          "((int\(n))\(name)[j] != 0) | ((p >= 0) & (lookup_uchar\(n)(\(name), 1, greater\(n)(p, 0)) != 0))")
      }
    case .blocks(let map):
      let name = table(try launcher.tables.buffer(of: mask, [], launcher.queue) { map.counts }, "uchar")
      argument("int \(name)_columns", ["\(name)_columns"])
      operands.append(.int(map.columns))
      return { "lookup_uchar\($0.suffix)(\(name) + j / \(map.size), \(name)_columns, i / \(map.size))" }
    case .segments(let list):
      return { language in
        let terms = list.map { segment in
          let (w, r) = (segment.length, segment.dilation)
          return language.count(
            "(p >= 0) & (p / \(w) == j / \(w)) & (p % \(w) % \(r) == h % \(r)) & (j % \(w) % \(r) == h % \(r))"
          )
        }
        return "(\(terms.joined(separator: " + ")))"
      }
    case .tensor(let tensor):
      let keeps = element("mask\(operands.count)", tensor, "uchar", ["b", "h", "i", "j"])
      return { $0.count("\(keeps($0)) != 0") }
    case .both(let a, let b):
      let (first, second) = (try kept(a, op, launcher), try kept(b, op, launcher))
      return { "(\(first($0)) * \(second($0)))" }
    case .either(let a, let b):
      let (first, second) = (try kept(a, op, launcher), try kept(b, op, launcher))
      return { "greater\($0.suffix)(\(first($0)), \(second($0)))" }
    }
  }

  // MARK: - Operands

  private mutating func argument(_ declaration: String, _ passed: [String]) {
    declarations += ", " + declaration
    names += passed.map { ", \($0)" }.joined()
  }

  /// An operand, and the expression of its element at `indices`; axes of size 1 serve every index. At most one index may
  /// speak of the row: sixteen rows then look up an element each.
  private mutating func element(_ name: String, _ tensor: Tensor, _ type: String, _ indices: [Index])
    -> (Language) -> String
  {
    let name = "t_\(name)"
    let strides = indices.indices.map { "\(name)_\($0)" }
    argument(
      "__global const \(type) *\(name), ulong \(name)_at" + strides.map { ", ulong \($0)" }.joined(),
      [name, "\(name)_at"] + strides)
    let view = Tensor(
      shape: tensor.shape, strides: tensor.broadcastStrides, offset: tensor.offset, type: tensor.type,
      storage: tensor.storage)
    operands.append(.view(view, [Int](indices.indices)))
    let row = indices.indices.first { tensor.shape[$0] > 1 && indices[$0].variesByRow }
    return { language in
      func terms(_ skipped: Int?) -> String {
        indices.indices.filter { $0 != skipped && tensor.shape[$0] > 1 }
          .map { " + (ulong)(\(indices[$0].text(language))) * \(strides[$0])" }.joined()
      }
      guard let row, language == .sixteen else { return "\(name)[\(name)_at\(terms(nil))]" }
      return
        "lookup_\(type)16(\(name) + \(name)_at\(terms(row)), \(strides[row]), \(indices[row].text(language)))"
    }
  }

  /// A table made here; returns its name.
  private mutating func table(_ buffer: Buffer, _ type: String) -> String {
    let name = "t_table\(operands.count)"
    argument("__global const \(type) *\(name)", [name])
    operands.append(.buffer(buffer))
    return name
  }
}
