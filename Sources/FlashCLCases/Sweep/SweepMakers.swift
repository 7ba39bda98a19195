import FlashCL

/// The parameters of one point, read by name and checked.
struct SweepParameters {
  let values: [String: String]

  func integer(_ key: String, _ fallback: Int, in range: ClosedRange<Int> = 1...1 << 24) throws -> Int {
    guard let text = values[key] else { return fallback }
    guard let value = Int(text) else {
      throw SweepError("\(key)=\(text) is no whole number; a range is first:last:x2 or first:last:+64")
    }
    guard range.contains(value) else {
      throw SweepError("\(key)=\(value) is not from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  func word(_ key: String, _ words: [String]) throws -> String {
    guard let text = values[key] else { return words[0] }
    guard words.contains(text) else {
      throw SweepError("\(key)=\(text) is not known; known: \(words.joined(separator: ", "))")
    }
    return text
  }

  func type(_ key: String = "type", of types: [ElementType] = ElementType.activations) throws -> ElementType {
    ElementType(rawValue: try word(key, types.map(\.rawValue))) ?? types[0]
  }

  func phase(_ fallback: Phase) throws -> Phase {
    values["phase"] == nil ? fallback : Phase(rawValue: try word("phase", ["decode", "prefill"])) ?? fallback
  }
}

/// How one operation's cases are made from parameters, by the maker of its own table.
struct SweepMaker: Sendable {
  let operation: String
  let keys: [String]
  /// The case, and the bytes of each tensor that it keeps on the device.
  let make: @Sendable (SweepParameters) throws -> (Case, [Int])

  /// Of one type: operands of these many elements each.
  private static func bytes(_ type: ElementType, _ counts: Int...) -> [Int] {
    counts.map { type.bytes($0 + 2 * 64) }
  }

  static let all: [SweepMaker] = [
    SweepMaker(
      operation: "attention",
      keys: [
        "B", "H", "Hkv", "N", "Lq", "Lk", "D", "Dv", "causal", "window", "mask", "cache", "phase", "type",
      ], make: attention),
    SweepMaker(
      operation: "attention_weights", keys: ["B", "H", "Hkv", "N", "Lq", "Lk", "D", "causal", "type"],
      make: attentionWeights),
    SweepMaker(operation: "cache_append", keys: ["tokens", "Hkv", "D", "rope", "type"], make: cacheAppend),
    linear("linear", rows: 512, outputs: 3072) { .linear([$0], $1, $2, $3, $4, purpose: .bench) },
    linear("linear_argmax", rows: 1, outputs: 49152) {
      .linearArgMax([$0], $1, $2, $3, $4, purpose: .bench)
    },
    norm("layer_norm") { .layerNorm($0, purpose: .bench) },
    norm("rms_norm") { .rmsNorm($0, purpose: .bench) },
    rows("softmax", 4096, 768) { type, rows, columns in .softmax(type, rows, columns, .normal, .bench) },
    SweepMaker(operation: "gelu", keys: ["rows", "cols", "form", "type"]) { p in
      let count = try p.integer("rows", 4096) * p.integer("cols", 768)
      let form = try p.word("form", ["exact", "tanh"])
      let type = try p.type()
      return (
        .gelu(GELU.Form(rawValue: form) ?? .exact, type, count, .uniform, .bench), bytes(type, count, count)
      )
    },
    SweepMaker(operation: "silu_multiply", keys: ["rows", "cols", "type"]) { p in
      let (rows, columns, type) = (try p.integer("rows", 512), try p.integer("cols", 1536), try p.type())
      return (
        .siluMultiply(type, rows, columns, .uniform, .bench), bytes(type, 2 * rows * columns, rows * columns)
      )
    },
    SweepMaker(operation: "gelu_multiply", keys: ["rows", "cols", "type"]) { p in
      let (rows, columns, type) = (try p.integer("rows", 512), try p.integer("cols", 1536), try p.type())
      return (
        .geluMultiply(type, rows, columns, .uniform, .bench), bytes(type, 2 * rows * columns, rows * columns)
      )
    },
    SweepMaker(operation: "softcap", keys: ["rows", "cols", "type"]) { p in
      let count = try p.integer("rows", 4096) * p.integer("cols", 768)
      let type = try p.type()
      return (.softcap(30, type, count, .uniform, .bench), bytes(type, count, count))
    },
    SweepMaker(operation: "weighted_gather", keys: ["rows", "cols", "k"]) { p in
      let (rows, columns) = (try p.integer("rows", 512), try p.integer("cols", 2048))
      let k = try p.integer("k", 2, in: 1...64)
      return (
        .weightedGather(rows, k, rows * k, columns, residual: true, purpose: .bench),
        bytes(.f32, rows * k * columns, rows * columns, rows * columns)
      )
    },
    rows("argmax", 1, 49152, types: [.f32]) { _, rows, columns in .argMax(rows, columns, .normal, .bench) },
    SweepMaker(operation: "top_k", keys: ["rows", "cols", "k"]) { p in
      let (rows, columns) = (try p.integer("rows", 1), try p.integer("cols", 49152))
      let k = try p.integer("k", min(40, columns), in: 1...min(columns, 1024))
      return (.topK(rows, columns, k, .normal, .bench), bytes(.f32, rows * columns, rows * k, rows * k))
    },
    SweepMaker(operation: "rope", keys: ["rows", "heads", "D", "type"]) { p in
      let (tokens, heads) = (try p.integer("rows", 512), try p.integer("heads", 9))
      let (size, type) = (try p.integer("D", 64, in: 2...512), try p.type())
      guard size % 2 == 0 else { throw SweepError("D=\(size) is odd: rope turns pairs") }
      return (
        .rope(type, .halves, tokens, heads, size, size, inPlace: true, purpose: .bench),
        bytes(type, 3 * tokens * heads * size)
      )
    },
    SweepMaker(operation: "embedding", keys: ["rows", "cols", "vocabulary", "type"]) { p in
      let (tokens, width) = (try p.integer("rows", 512), try p.integer("cols", 576))
      let vocabulary = try p.integer("vocabulary", 49152)
      let type = try p.type(of: ElementType.weights)
      guard width % type.blockLength == 0 else {
        throw SweepError(
          "cols=\(width) is no multiple of \(type.blockLength), as tables of type \(type) need")
      }
      return (
        .embedding(type, tokens, vocabulary, width, purpose: .bench),
        bytes(.f32, tokens * width) + [type.bytes(vocabulary * width)]
      )
    },
  ]

  /// A layer of so many rows, outputs and inputs.
  private static func linear(
    _ operation: String, rows: Int, outputs: Int,
    _ make: @escaping @Sendable (ElementType, Phase, _ rows: Int, _ outputs: Int, _ inputs: Int) -> Case
  ) -> SweepMaker {
    SweepMaker(operation: operation, keys: ["rows", "inputs", "outputs", "type", "phase"]) { p in
      let type = try p.type(of: ElementType.weights)
      let (rows, inputs) = (try p.integer("rows", rows), try p.integer("inputs", 768))
      let outputs = try p.integer("outputs", outputs)
      guard inputs % type.blockLength == 0 else {
        throw SweepError(
          "inputs=\(inputs) is no multiple of \(type.blockLength), as weights of type \(type) need")
      }
      // Up to 16 rows are a step of decoding, whose order of summation does not depend on their number.
      let phase = try p.phase(rows <= 16 ? .decode : .prefill)
      // The weight may lie in several buffers.
      let weight = type.bytes(outputs * inputs)
      let parts = [Int](repeating: weight / 16, count: 16)
      return (
        make(type, phase, rows, outputs, inputs), bytes(.f32, rows * inputs, rows * outputs) + parts
      )
    }
  }

  private static func norm(
    _ operation: String, _ make: @escaping @Sendable (NormProblem) -> Case
  ) -> SweepMaker {
    SweepMaker(operation: operation, keys: ["rows", "cols", "form", "type"]) { p in
      let (rows, columns) = (try p.integer("rows", 512), try p.integer("cols", 768))
      let word = try p.word("form", NormProblem.Form.allCases.map(\.rawValue))
      let (form, type) = (NormProblem.Form(rawValue: word) ?? .plain, try p.type())
      return (
        make(NormProblem(type, rows, columns, .normal, form)),
        (0..<form.tensors).flatMap { _ in bytes(type, rows * columns) }
      )
    }
  }

  /// An operation on the rows of one matrix.
  private static func rows(
    _ operation: String, _ rows: Int, _ columns: Int, types: [ElementType] = ElementType.activations,
    _ make: @escaping @Sendable (ElementType, Int, Int) -> Case
  ) -> SweepMaker {
    SweepMaker(operation: operation, keys: ["rows", "cols"] + (types.count > 1 ? ["type"] : [])) { p in
      let (rows, columns) = (try p.integer("rows", rows), try p.integer("cols", columns))
      let type = try p.type(of: types)
      return (make(type, rows, columns), bytes(type, rows * columns, rows * columns))
    }
  }

  // MARK: - Attention

  private static func shape(_ p: SweepParameters, length: Int) throws -> Case.DenseShape {
    if p.values["N"] != nil, p.values["Lq"] != nil || p.values["Lk"] != nil {
      throw SweepError("give N, or Lq and Lk: N is both")
    }
    let heads = try p.integer("H", 8)
    let keyHeads = try p.integer("Hkv", heads)
    guard heads % keyHeads == 0 else { throw SweepError("H=\(heads) is no multiple of Hkv=\(keyHeads)") }
    let length = try p.integer("N", length)
    let size = try p.integer("D", 64, in: 1...512)
    return Case.DenseShape(
      batch: try p.integer("B", 1), heads: heads, keyHeads: keyHeads, queries: try p.integer("Lq", length),
      keys: try p.integer("Lk", length), size: size, valueSize: try p.integer("Dv", size, in: 1...512))
  }

  /// The weights of every head: their length is shorter than attention's, for their size is its square.
  private static func attentionWeights(_ p: SweepParameters) throws -> (Case, [Int]) {
    let (shape, type) = (try shape(p, length: 512), try p.type())
    let isCausal = try p.integer("causal", 0, in: 0...1) == 1
    let (rows, keys) = (shape.batch * shape.queries * shape.heads, shape.batch * shape.keys * shape.keyHeads)
    return (
      .attentionWeights(type, shape, causal: isCausal ? .lowerRight : nil),
      bytes(type, rows * shape.size, keys * shape.size) + bytes(.f32, rows * shape.keys)
    )
  }

  /// `tokens` in one call, after as many that are there.
  private static func cacheAppend(_ p: SweepParameters) throws -> (Case, [Int]) {
    let tokens = try p.integer("tokens", 512, in: 1...1 << 20)
    let (heads, size) = (try p.integer("Hkv", 8), try p.integer("D", 64, in: 2...512))
    let type = try p.type(of: ElementType.activations + [.q8_0])
    guard size % 2 == 0 else { throw SweepError("D=\(size) is odd: rope turns pairs") }
    guard size % type.blockLength == 0 else {
      throw SweepError("D=\(size) is no multiple of \(type.blockLength), as a cache of type \(type) needs")
    }
    let isRotated = try p.integer("rope", 1, in: 0...1) == 1
    let row = 2 * heads * size
    // Both halves come from f32, and the cache is first filled from it.
    return (
      .append(
        type, [2 * tokens], keyHeads: heads, size: size, pairing: isRotated ? .halves : nil,
        rotary: isRotated ? size : 0, purpose: .bench),
      bytes(type, tokens * row, tokens * row)
        + bytes(.f32, tokens * row, tokens * row, tokens * row, tokens * row)
    )
  }

  private static func attention(_ p: SweepParameters) throws -> (Case, [Int]) {
    let shape = try shape(p, length: 1024)
    if p.values["window"] != nil && p.values["mask"] != nil {
      throw SweepError("give window or mask, not both")
    }
    let (heads, keyHeads, size, type) = (shape.heads, shape.keyHeads, shape.size, try p.type())
    let phase = try p.phase(shape.queries <= Attention.decodeRows ? .decode : .prefill)
    let terms = try p.values["window"].map(window) ?? p.values["mask"].flatMap { try mask($0, shape) }
    let (width, rows) = (shape.valueSize ?? size, shape.batch * shape.queries * heads)
    let tokens = shape.batch * shape.keys * keyHeads
    let own = bytes(type, rows * size, rows * width)
    let cache = try p.word("cache", ["none", "f32", "f16", "bf16", "q8_0"])
    guard let cacheType = ElementType(rawValue: cache) else {
      let isCausal = try p.integer("causal", 0, in: 0...1) == 1
      let item = Case.attention(
        type, shape, causal: isCausal ? .lowerRight : nil, phase: phase, terms: terms, purpose: .bench)
      return (item, own + bytes(type, tokens * size, tokens * width))
    }
    guard p.values["causal"] != "0" else {
      throw SweepError(
        "causal=0 with a cache: queries over a cache are its last tokens, and see what came before")
    }
    guard cacheType != .q8_0 || size % 32 == 0 && width % 32 == 0 else {
      throw SweepError("cache=q8_0 needs D and Dv of multiples of 32, not \(size) and \(width)")
    }
    guard shape.queries <= shape.keys else {
      throw SweepError("the Lq=\(shape.queries) new tokens are more than the Lk=\(shape.keys) in the cache")
    }
    let item = Case.paged(
      type, cache: cacheType, phase, shape.queries, [Int](repeating: shape.keys, count: shape.batch),
      heads: heads, keyHeads: keyHeads, size: size, valueSize: width, terms: terms, purpose: .bench)
    // The cache is filled from f32, twice as the workbench does it.
    return (
      item,
      own + bytes(cacheType, tokens * size, tokens * width)
        + bytes(.f32, tokens * size, tokens * width, tokens * size, tokens * width)
    )
  }

  /// `255:0`: keys to the left and to the right, −1 for no limit.
  private static func window(_ text: String) throws -> Case.AttentionTerms {
    let sides = text.split(separator: ":").compactMap { Int($0) }
    guard sides.count == 2, sides.allSatisfy({ $0 >= -1 }) else {
      throw SweepError("window=\(text) is no left:right, such as 255:0 (-1 for no limit)")
    }
    return Case.window(sides[0], sides[1])
  }

  private static let masks = [
    "full", "local:K", "atrous:K", "strided:K", "longformer:K", "bigbird:SIZE", "blocks:PERCENT", "longnet",
  ]

  /// A pattern by its name; nil for `full`.
  private static func mask(_ text: String, _ shape: Case.DenseShape) throws -> Case.AttentionTerms? {
    let parts = text.split(separator: ":", maxSplits: 1)
    let number = parts.count == 2 ? Int(parts[1]) : nil
    let name = text.replacing(":", with: "_")
    switch (parts.first, number) {
    case ("full", nil): return nil
    case ("local", let k?) where k >= 0: return Case.mask(name, .local(k))
    case ("atrous", let k?) where k >= 1: return Case.mask(name, .atrous(k))
    case ("strided", let k?) where k >= 1: return Case.mask(name, .strided(k))
    case ("longformer", let k?) where k >= 0: return Case.mask(name, .local(k).or(.global([0, 1, 2, 3])))
    case ("bigbird", let size?) where [16, 32, 64, 128].contains(size):
      guard shape.queries == shape.keys else {
        throw SweepError("mask=\(text) needs as many queries as keys")
      }
      do {
        _ = try BlockMask.bigBird(size: size, blocks: (shape.keys + size - 1) / size, random: 3, seed: 7)
      } catch {
        throw SweepError("mask=\(text) over \(shape.keys) keys: \(error)")
      }
      return Case.bigBird(name, size: size)
    case ("blocks", let percent?) where (1...100).contains(percent):
      return Case.blocks(name, percent: percent)
    case ("longnet", nil):
      // Each pattern four times as long and a quarter as dense as the one before, as published.
      return Case.mask(
        name,
        .segments((0..<4).map { .init(length: 256 << (2 * $0), dilation: 1 << (2 * $0)) }))
    default:
      throw SweepError("mask=\(text) is not known; known: \(masks.joined(separator: ", "))")
    }
  }
}
