import Foundation
import Testing

/// Where commands are tried: on the reference, and on an OpenCL device where there is one.
private let places: [String] = {
  let devices = try? run("devices", "--format", "json", environment: [:]).json()["devices"] as? [Any]
  return ["cpu"] + (devices?.isEmpty == false ? ["gpu"] : [])
}()

private func attend(_ arguments: [String], on place: String = "cpu") throws -> Outcome {
  try run(["attention"] + arguments, environment: ["FLASHCL_DEVICE": place])
}

// MARK: - Arrays

/// An array of numbers, on its way to or from a .npy file.
private struct Numbers: Sendable {
  var shape: [Int]
  var values: [Double]
  var descr = "<f4"

  init(_ shape: [Int], descr: String = "<f4", _ value: (Int) -> Double) {
    self.shape = shape
    self.descr = descr
    values = (0..<shape.reduce(1, *)).map(value)
  }

  /// Numbers without a pattern, from −1 to 1, exact in float16.
  static func random(_ shape: [Int], seed: Int, descr: String = "<f4") -> Numbers {
    Numbers(shape, descr: descr) { index in
      var bits = UInt64(index &* 7919 &+ seed &* 104729 &+ 1)
      for _ in 0..<3 { bits = (bits ^ bits >> 29) &* 0xbf58_476d_1ce4_e5b9 }
      return Double(Int(bits >> 54)) / 512 - 1
    }
  }

  subscript(_ a: Int, _ b: Int, _ c: Int, _ d: Int) -> Double {
    values[((a * shape[1] + b) * shape[2] + c) * shape[3] + d]
  }

  /// The axes in another order.
  func permuted(_ axes: [Int]) -> Numbers {
    let strides = shape.indices.map { shape[($0 + 1)...].reduce(1, *) }
    let target = axes.map { shape[$0] }
    return Numbers(target, descr: descr) { index in
      var (rest, source) = (index, 0)
      for axis in axes.reversed() {
        source += rest % shape[axis] * strides[axis]
        rest /= shape[axis]
      }
      return values[source]
    }
  }

  /// Positions of one axis of a `[1, H, L, D]` array.
  func positions(_ range: Range<Int>) -> Numbers {
    let (heads, size) = (shape[1], shape[3])
    return Numbers([1, heads, range.count, size]) { index in
      self[0, index / size / range.count, range.lowerBound + index / size % range.count, index % size]
    }
  }

  @discardableResult
  func write(_ scratch: Scratch, _ name: String) throws -> String {
    var header =
      "{'descr': '\(descr)', 'fortran_order': False, 'shape': (\(shape.map { "\($0)," }.joined()))}"
    header += String(repeating: " ", count: 128 - 11 - header.utf8.count) + "\n"
    var bytes: [UInt8] = [0x93] + "NUMPY".utf8 + [1, 0, 118, 0] + header.utf8
    for value in values {
      switch descr {
      case "<f4": withUnsafeBytes(of: Float(value)) { bytes += $0 }
      case "<f8": withUnsafeBytes(of: value) { bytes += $0 }
      case "<f2": withUnsafeBytes(of: Float16(value)) { bytes += $0 }
      case "<i4": withUnsafeBytes(of: Int32(value)) { bytes += $0 }
      case "<i8": withUnsafeBytes(of: Int64(value)) { bytes += $0 }
      default: bytes.append(UInt8(value))
      }
    }
    try Data(bytes).write(to: URL(fileURLWithPath: scratch.path(name)))
    return scratch.path(name)
  }

  init(_ path: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    let start = 10 + Int(bytes[8]) + Int(bytes[9]) << 8
    let header = String(decoding: bytes[10..<start], as: UTF8.self)
    let tuple = try #require(header.split(separator: "(").last?.split(separator: ")").first)
    shape = tuple.split(separator: ",").compactMap { Int($0.filter { $0 != " " }) }
    descr = String(try #require(header.firstMatch(of: #/'([<|]\w\d)'/#)).1)
    let data = bytes[start...]
    func load<T>(_ type: T.Type) -> [T] {
      data.withUnsafeBytes { raw in
        (0..<raw.count / MemoryLayout<T>.size).map {
          raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
        }
      }
    }
    switch descr {
    case "<f4": values = load(Float.self).map { Double($0) }
    case "<f2": values = load(Float16.self).map { Double($0) }
    case "<i4": values = load(Int32.self).map { Double($0) }
    default: values = data.map { Double($0) }
    }
    #expect(values.count == shape.reduce(1, *))
  }

  /// The greatest difference; equal infinities have none.
  func distance(_ other: Numbers) -> Double {
    guard shape == other.shape else { return .infinity }
    return zip(values, other.values).reduce(0) { most, pair in
      let difference = pair.0 == pair.1 ? 0 : abs(pair.0 - pair.1)
      return max(most, difference.isNaN ? .infinity : difference)
    }
  }
}

/// Attention by its formula, pair by pair, over `[B, H, L, D]`.
private struct Truth {
  var o, lse, weights: Numbers

  typealias Pair = @Sendable (_ b: Int, _ h: Int, _ i: Int, _ j: Int) -> Double

  /// `count` says how often a pair counts, `added` what its score gains.
  init(
    _ q: Numbers, _ k: Numbers, _ v: Numbers, count: Pair = { _, _, _, _ in 1 },
    added: Pair = { _, _, _, _ in 0 }
  ) {
    let (queries, keys, group) = (q.shape[2], k.shape[2], q.shape[1] / max(k.shape[1], 1))
    o = Numbers(q.shape.dropLast() + [v.shape[3]]) { _ in 0 }
    lse = Numbers([q.shape[0], q.shape[1], queries]) { _ in 0 }
    weights = Numbers([q.shape[0], q.shape[1], queries, keys]) { _ in 0 }
    for b in 0..<q.shape[0] {
      for h in 0..<q.shape[1] {
        for i in 0..<queries {
          let row = (b * q.shape[1] + h) * queries + i
          let terms = (0..<keys).map { j in
            let dot = (0..<q.shape[3]).reduce(0.0) { $0 + q[b, h, i, $1] * k[b, h / group, j, $1] }
            let times = count(b, h, i, j)
            return times == 0 ? 0 : times * exp(dot / Double(q.shape[3]).squareRoot() + added(b, h, i, j))
          }
          let sum = terms.reduce(0, +)
          lse.values[row] = log(sum)
          guard sum > 0 else { continue }
          for j in 0..<keys {
            weights.values[row * keys + j] = terms[j] / sum
            for d in 0..<v.shape[3] {
              o.values[row * v.shape[3] + d] += terms[j] / sum * v[b, h / group, j, d]
            }
          }
        }
      }
    }
  }
}

// MARK: - Right results

/// Options, and what they mean for one pair; 21 queries, 38 keys: p = i + 17.
private struct Meaning: Sendable, CustomTestStringConvertible {
  let arguments: [String]
  var files: [String: Numbers] = [:]
  var count: Truth.Pair = { _, _, _, _ in 1 }
  var added: Truth.Pair = { _, _, _, _ in 0 }

  var testDescription: String { arguments.isEmpty ? "plain" : arguments.joined(separator: " ") }

  static let mask = Numbers([4, 1, 38], descr: "|b1") { $0 * 7 % 5 == 0 ? 0 : 1 }
  static let ofKeys = Numbers([38], descr: "|b1") { $0 % 3 == 0 ? 0 : 1 }
  static let bias = Numbers.random([21, 38], seed: 9)
  static let holes = Numbers([2, 1, 1, 38]) { $0 % 4 == 1 ? -.infinity : 0.25 }
  static let blocks = Numbers([2, 3], descr: "|b1") { [1, 0, 1, 0, 1, 1][$0] }
  static let counts = Numbers([2, 3], descr: "|u1") { [1, 0, 3, 2, 1, 0][$0] }
  static let slopes = Numbers([4]) { Double($0) / 8 }
  static let table = Numbers.random([4, 11], seed: 3)
  static let lengths = Numbers([2], descr: "<i4") { [30, 0][$0] }

  static let all = [
    Meaning(arguments: []),
    Meaning(arguments: ["--causal", "upper-left"]) { _, _, i, j in j <= i ? 1 : 0 },
    Meaning(arguments: ["--causal", "lower-right"]) { _, _, i, j in j <= i + 17 ? 1 : 0 },
    Meaning(arguments: ["--window", "5,-1", "--causal", "lower-right"]) { _, _, i, j in
      i + 12 <= j && j <= i + 17 ? 1 : 0
    },
    Meaning(arguments: ["--window", "-1,0"]) { _, _, i, j in j <= i + 17 ? 1 : 0 },
    Meaning(arguments: ["--dilation", "3"]) { _, _, i, j in (i + 17 - j) % 3 == 0 ? 1 : 0 },
    Meaning(arguments: ["--window", "6,2", "--dilation", "2"]) { _, _, i, j in
      (i + 17 - j) % 2 == 0 && (-2...6).contains(i + 17 - j) ? 1 : 0
    },
    Meaning(arguments: ["--global", "0,20"]) { _, _, i, j in
      [0, 20].contains(j) || [0, 20].contains(i + 17) ? 1 : 0
    },
    Meaning(arguments: ["--window", "2,2", "--global", "0,20", "--causal", "lower-right"]) { _, _, i, j in
      let isNear = abs(i + 17 - j) <= 2 || [0, 20].contains(j) || [0, 20].contains(i + 17)
      return isNear && j <= i + 17 ? 1 : 0
    },
    Meaning(arguments: ["--mask", "mask.npy"], files: ["mask.npy": mask]) { _, h, _, j in
      mask.values[h * 38 + j]
    },
    Meaning(arguments: ["--mask", "keys.npy", "--window", "9,9"], files: ["keys.npy": ofKeys]) { _, _, i, j in
      abs(i + 17 - j) <= 9 ? ofKeys.values[j] : 0
    },
    Meaning(arguments: ["--block-mask", "m.npy", "--block", "16"], files: ["m.npy": blocks]) { _, _, i, j in
      blocks.values[i / 16 * 3 + j / 16]
    },
    Meaning(arguments: ["--block-mask", "m.npy", "--block", "16"], files: ["m.npy": counts]) { _, _, i, j in
      counts.values[i / 16 * 3 + j / 16]
    },
    Meaning(arguments: ["--mask-mod", "(i + b * j) % 3 != h"]) { b, h, i, j in (i + b * j) % 3 != h ? 1 : 0 },
    Meaning(arguments: ["--key-lengths", "n.npy"], files: ["n.npy": lengths]) { b, _, _, j in
      j < Int(lengths.values[b]) ? 1 : 0
    },
    Meaning(
      arguments: ["--bias", "bias.npy"], files: ["bias.npy": bias],
      added: { _, _, i, j in bias.values[i * 38 + j] }),
    Meaning(
      arguments: ["--bias", "holes.npy"], files: ["holes.npy": holes],
      added: { b, _, _, j in holes.values[b * 38 + j] }
    ),
    Meaning(
      arguments: ["--alibi", "default"],
      added: { _, h, i, j in -pow(2, -2 * Double(h + 1)) * Double(abs(i + 17 - j)) }),
    Meaning(
      arguments: ["--alibi", "s.npy"], files: ["s.npy": slopes],
      added: { _, h, i, j in -slopes.values[h] * Double(abs(i + 17 - j)) }),
    Meaning(
      arguments: ["--relative-table", "r.npy"], files: ["r.npy": table],
      added: { _, h, i, j in table.values[h * 11 + min(max(j - i, -5), 5) + 5] }),
    Meaning(
      arguments: ["--score-mod", "score - 0.125f * abs(i - j) + h"],
      added: { _, h, i, j in Double(h) - 0.125 * Double(abs(i - j)) }),
  ]
}

extension Meaning {
  fileprivate init(arguments: [String], files: [String: Numbers] = [:], _ count: @escaping Truth.Pair) {
    self.init(arguments: arguments, files: files, count: count)
  }
}

@Suite struct AttentionCommandTests {
  private static let (q, k, v) = (
    Numbers.random([2, 4, 21, 8], seed: 1), Numbers.random([2, 2, 38, 8], seed: 2),
    Numbers.random([2, 2, 38, 5], seed: 3)
  )

  private static func operands(_ scratch: Scratch) throws -> [String] {
    [try q.write(scratch, "q.npy"), try k.write(scratch, "k.npy"), try v.write(scratch, "v.npy")]
  }

  @Test(arguments: Meaning.all, places) fileprivate func means(meaning: Meaning, place: String) throws {
    let scratch = try Scratch()
    let operands = try Self.operands(scratch)
    for (name, file) in meaning.files { try file.write(scratch, name) }
    let outputs = ["--output", "o.npy", "--lse", "lse.npy", "--weights", "w.npy"]
    let arguments = (meaning.arguments + outputs).map { $0.hasSuffix(".npy") ? scratch.path($0) : $0 }
    let result = try attend(operands + arguments, on: place)
    try #require(result.status == 0, "\(result.errors)")
    #expect(result.output == "")
    let truth = Truth(Self.q, Self.k, Self.v, count: meaning.count, added: meaning.added)
    #expect(try Numbers(scratch.path("o.npy")).distance(truth.o) < 2e-6)
    #expect(try Numbers(scratch.path("lse.npy")).distance(truth.lse) < 4e-6)
    #expect(try Numbers(scratch.path("w.npy")).distance(truth.weights) < 2e-6)
  }

  /// The same numbers in the other order of axes, and in every type.
  @Test(
    arguments: [("f32", "<f4", 2e-6), ("f16", "<f2", 2e-3), ("bf16", "<f4", 2e-2), (nil, "<f2", 2e-3)]
      as [(String?, String, Double)], places)
  func layoutsAndTypes(stored: (type: String?, descr: String, error: Double), place: String) throws {
    let scratch = try Scratch()
    // Without --type, files of float16 stay float16.
    let operands = try [("q", Self.q), ("k", Self.k), ("v", Self.v)].map { name, numbers in
      var numbers = numbers.permuted([0, 2, 1, 3])
      if stored.type == nil { numbers.descr = "<f2" }
      return try numbers.write(scratch, name + ".npy")
    }
    let result = try attend(
      operands + ["--layout", "blhd", "--output", scratch.path("o.npy"), "--lse", scratch.path("lse.npy")]
        + (stored.type.map { ["--type", $0] } ?? []), on: place)
    try #require(result.status == 0, "\(result.errors)")
    let o = try Numbers(scratch.path("o.npy"))
    #expect(o.shape == [2, 21, 4, 5] && o.descr == stored.descr)
    let truth = Truth(Self.q, Self.k, Self.v)
    #expect(o.permuted([0, 2, 1, 3]).distance(truth.o) < stored.error)
    let lse = try Numbers(scratch.path("lse.npy"))
    #expect(lse.descr == "<f4" && lse.distance(truth.lse) < stored.error)
    #expect(try scratch.names() == ["k.npy", "lse.npy", "o.npy", "q.npy", "v.npy"])
  }

  /// Each sequence of a ragged batch has what it has alone; one of them is empty.
  @Test(arguments: places) func ragged(place: String) throws {
    let scratch = try Scratch()
    let (queryStarts, keyStarts) = ([0, 5, 5, 16], [0, 20, 31, 47])
    let q = Numbers.random([1, 4, 16, 8], seed: 4)
    let (k, v) = (Numbers.random([1, 2, 47, 8], seed: 5), Numbers.random([1, 2, 47, 6], seed: 6))
    func starts(_ values: [Int], _ name: String) throws -> String {
      try Numbers([4], descr: "<i4") { Double(values[$0]) }.write(scratch, name)
    }
    let result = try attend(
      [
        try q.write(scratch, "q.npy"), try k.write(scratch, "k.npy"), try v.write(scratch, "v.npy"),
        "--cu-seqlens-q", try starts(queryStarts, "sq.npy"), "--cu-seqlens-k",
        try starts(keyStarts, "sk.npy"),
        "--causal", "lower-right", "--output", scratch.path("o.npy"), "--lse", scratch.path("lse.npy"),
        "--draw", scratch.path("m.svg"),
      ], on: place)
    try #require(result.status == 0, "\(result.errors)")
    let (o, lse) = (try Numbers(scratch.path("o.npy")), try Numbers(scratch.path("lse.npy")))
    #expect(o.shape == [1, 4, 16, 6] && lse.shape == [1, 4, 16])
    for sequence in 0..<3 {
      let rows = queryStarts[sequence]..<queryStarts[sequence + 1]
      let keys = keyStarts[sequence]..<keyStarts[sequence + 1]
      let shift = keys.count - rows.count
      let truth = Truth(q.positions(rows), k.positions(keys), v.positions(keys)) { _, _, i, j in
        j <= i + shift ? 1 : 0
      }
      #expect(o.positions(rows).distance(truth.o) < 2e-6)
      for h in 0..<4 {
        for i in rows {
          #expect(abs(lse.values[h * 16 + i] - truth.lse.values[h * rows.count + i - rows.lowerBound]) < 4e-6)
        }
      }
    }
    // 5 queries and 20 keys make one tile.
    #expect(try Self.tiles(scratch.path("m.svg")) == [0, 1, 0])
  }

  /// Pages in any order, one of them shared, one in nobody's table.
  @Test(arguments: [("f32", "bhld", 2e-6), ("f16", "blhd", 2e-3)], places)
  func paged(stored: (type: String, layout: String, error: Double), place: String) throws {
    let scratch = try Scratch()
    let table = [3, 0, -1, 3, 1, 4]
    let lengths = [25, 48]
    let (k, v) = (Numbers.random([5, 2, 16, 8], seed: 7), Numbers.random([5, 2, 16, 6], seed: 8))
    let q = Numbers.random([2, 4, 3, 8], seed: 9)
    func file(_ numbers: Numbers, _ name: String) throws -> String {
      try (stored.layout == "bhld" ? numbers : numbers.permuted([0, 2, 1, 3])).write(scratch, name)
    }
    let result = try attend(
      [
        try file(q, "q.npy"), try file(k, "k.npy"), try file(v, "v.npy"), "--type", stored.type, "--layout",
        stored.layout, "--page", "16", "--causal", "lower-right", "--output", scratch.path("o.npy"),
        "--block-table", try Numbers([2, 3], descr: "<i4") { Double(table[$0]) }.write(scratch, "t.npy"),
        "--key-lengths", try Numbers([2], descr: "<i4") { Double(lengths[$0]) }.write(scratch, "n.npy"),
        "--draw", scratch.path("m.svg"),
      ], on: place)
    try #require(result.status == 0, "\(result.errors)")
    var o = try Numbers(scratch.path("o.npy"))
    if stored.layout == "blhd" { o = o.permuted([0, 2, 1, 3]) }
    for b in 0..<2 {
      func gathered(_ pages: Numbers) -> Numbers {
        let (length, size) = (lengths[b], pages.shape[3])
        return Numbers([1, 2, length, size]) { index in
          let (h, j) = (index / size / length, index / size % length)
          return pages[table[b * 3 + j / 16], h, j % 16, index % size]
        }
      }
      let row = Numbers([1, 4, 3, 8]) { q.values[b * 96 + $0] }
      let shift = lengths[b] - 3
      let truth = Truth(row, gathered(k), gathered(v)) { _, _, i, j in j <= i + shift ? 1 : 0 }
      #expect(Numbers([1, 4, 3, 6]) { o.values[b * 72 + $0] }.distance(truth.o) < stored.error)
    }
    #expect(try Self.tiles(scratch.path("m.svg")) == [0, 1, 0])
  }

  @Test(arguments: places) func nothingIsNoError(place: String) throws {
    let scratch = try Scratch()
    for (batch, queries, keys) in [(0, 3, 4), (1, 0, 4), (2, 3, 0)] {
      let paths = try [
        ("q", [batch, 2, queries, 8]), ("k", [batch, 1, keys, 8]), ("v", [batch, 1, keys, 5]),
      ].map {
        try Numbers.random($1, seed: 1).write(scratch, $0 + ".npy")
      }
      let result = try attend(
        paths + [
          "--output", scratch.path("o.npy"), "--lse", scratch.path("lse.npy"), "--weights",
          scratch.path("w.npy"),
          "--draw", scratch.path("m.svg"),
        ], on: place)
      try #require(result.status == 0, "\(result.errors)")
      let (o, lse) = (try Numbers(scratch.path("o.npy")), try Numbers(scratch.path("lse.npy")))
      #expect(o.shape == [batch, 2, queries, 5] && o.values.allSatisfy { $0 == 0 })
      #expect(lse.shape == [batch, 2, queries] && lse.values.allSatisfy { $0 == -.infinity })
      #expect(try Numbers(scratch.path("w.npy")).shape == [batch, 2, queries, keys])
      #expect(try Self.tiles(scratch.path("m.svg")) == [0, 0, 0])
    }
  }

  @Test func helpNamesWhatThereIs() throws {
    let help = try run("attention", "--help")
    #expect(help.status == 0 && help.output.contains("Example: flashcl attention q.npy"))
    for name in [
      "--cu-seqlens-q", "--block-table", "--relative-table", "--score-mod", "--draw", "blhd", "bf16",
    ] {
      #expect(help.output.contains(name))
    }
  }

  // MARK: - Pictures

  /// Counts of tiles: skipped, partial, whole.
  private static func tiles(_ path: String) throws -> [Int] {
    let svg = try String(contentsOfFile: path, encoding: .utf8)
    #expect(svg.hasPrefix("<svg ") && svg.hasSuffix("</svg>\n"))
    return svg.matches(of: #/>(\d+) tiles?, /#).compactMap { Int($0.1) }
  }

  /// The pictures' counts are those of every pair looked at.
  @Test(arguments: places) func picturesTellTheTruth(place: String) throws {
    let scratch = try Scratch()
    let (queries, keys) = (100, 150)
    let paths = try [("q", [2, 2, queries, 1]), ("k", [2, 1, keys, 1]), ("v", [2, 1, keys, 1])].map {
      try Numbers.random($1, seed: 1).write(scratch, $0 + ".npy")
    }
    let blocks = Numbers([4, 5], descr: "|u1") { Double($0 % 3) }
    let lengths = Numbers([2], descr: "<i4") { [97, 12][$0] }
    let mask = Numbers([1, 2, 1, keys], descr: "|b1") { $0 < keys ? 1 : Double($0 % 2) }
    let bias = Numbers([queries, 1]) { $0 < 40 ? -.infinity : 3 }
    let tables: [([String], Int, (Int, Int, Int) -> Bool)] = [
      ([], 1, { _, _, _ in true }),
      (["--causal", "upper-left"], 1, { _, i, j in j <= i }),
      (
        ["--window", "20,0", "--global", "3", "--causal", "lower-right"], 1,
        { _, i, j in j <= i + 50 && (j >= i + 30 || j == 3) }
      ),
      (["--window", "40,9"], 1, { _, i, j in (-9...40).contains(i + 50 - j) }),
      (["--dilation", "2"], 1, { _, i, j in (i - j) % 2 == 0 }),
      (
        ["--block-mask", try blocks.write(scratch, "b.npy"), "--block", "32"], 1,
        { _, i, j in blocks.values[i / 32 * 5 + j / 32] > 0 }
      ),
      (
        [
          "--key-lengths", try lengths.write(scratch, "n.npy"), "--sinks",
          try Numbers([2]) { _ in 9 }.write(scratch, "s.npy"),
        ],
        1, { _, _, j in j < 97 }
      ),
      (["--mask", try mask.write(scratch, "m.npy")], 2, { h, _, j in h == 0 || j % 2 == 1 - 150 % 2 }),
      (["--bias", try bias.write(scratch, "bias.npy")], 1, { _, i, _ in i >= 40 }),
      (["--mask-mod", "i / 50 == j / 50 || h == 1"], 2, { h, i, j in h == 1 || i / 50 == j / 50 }),
      (["--score-mod", "j > 31 + b ? score * 1000 : -1.0f / 0.0f"], 1, { _, _, j in j > 31 }),
    ]
    for (arguments, heads, keeps) in tables {
      let picture = scratch.path("picture.svg")
      let result = try attend(
        paths + arguments + ["--output", scratch.path("o.npy"), "--draw", picture], on: place)
      try #require(result.status == 0, "\(arguments) \(result.errors)")
      var counts = [0, 0, 0]
      for h in 0..<heads {
        for row in stride(from: 0, to: queries, by: 16) {
          for column in stride(from: 0, to: keys, by: 32) {
            let pairs = (row..<min(row + 16, queries)).flatMap { i in
              (column..<min(column + 32, keys)).map { keeps(h, i, $0) }
            }
            counts[pairs.contains(true) ? pairs.contains(false) ? 1 : 2 : 0] += 1
          }
        }
      }
      #expect(try Self.tiles(picture) == counts, "\(arguments)")
    }
  }

  @Test func aTitleIsSafeAndLargeMatricesHaveLargeTiles() throws {
    let scratch = try Scratch()
    let paths = try [("q", [1, 1, 40, 1]), ("k", [1, 1, 5000, 1]), ("v", [1, 1, 5000, 1])].map {
      try Numbers.random($1, seed: 1).write(scratch, $0 + ".npy")
    }
    let result = try attend(
      paths + [
        "--mask-mod", "j < 5 && i > 3", "--output", scratch.path("o.npy"), "--draw", scratch.path("m.svg"),
      ])
    try #require(result.status == 0, "\(result.errors)")
    let svg = try String(contentsOfFile: scratch.path("m.svg"), encoding: .utf8)
    #expect(svg.contains("j &lt; 5 &amp;&amp; i &gt; 3") && !svg.contains("&& i"))
    #expect(svg.contains("40 queries") && svg.contains("5000 keys") && svg.contains("16 × 64"))
    #expect(try Self.tiles(scratch.path("m.svg")).reduce(0, +) == 3 * 79)
  }
}

// MARK: - Goldens

/// Answers of PyTorch and of the `transformers` package, as far as there are options for them.
private struct Golden: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let operands: [String]
  /// Options, and files by their option.
  let arguments: [String]
  let files: [String: String]
  let outputs: [String: String]

  private static let folder = Models.folder.appendingPathComponent("attention")

  static let all: [Golden] = {
    guard let data = try? Data(contentsOf: folder.appendingPathComponent("cases.json")),
      let cases = try? JSONSerialization.jsonObject(with: data) as? [[String: Any]]
    else { return [] }
    return cases.compactMap { Golden($0) }
  }()

  private init?(_ json: [String: Any]) {
    guard let name = json["name"] as? String, json["operation"] as? String == "attention",
      let parameters = json["parameters"] as? [String: Any], let inputs = json["inputs"] as? [String: String],
      let outputs = json["outputs"] as? [String: String]
    else { return nil }
    func path(_ name: String) -> String { Self.folder.appendingPathComponent(name).path }
    (testDescription, self.outputs) = (name, outputs.mapValues(path))
    operands = ["q", "k", "v"].compactMap { inputs[$0].map(path) }
    var arguments: [String] = []
    for (name, value) in parameters.sorted(by: { $0.key < $1.key }) {
      let list = (value as? [Int])?.map { "\($0)" }.joined(separator: ",")
      switch name {
      case "causal":
        arguments += ["--causal", value as? String == "upperLeft" ? "upper-left" : "lower-right"]
      case "scale", "softcap", "dilation", "kind", "alibi": arguments += ["--\(name)", "\(value)"]
      case "block":
        guard let size = value as? Int, size >= 16 else { return nil }
        arguments += ["--block", "\(size)"]
      case "window", "global": arguments += ["--\(name)", list ?? ""]
      case "scoreMod": arguments += ["--score-mod", value as? String ?? ""]
      case "maskMod": arguments += ["--mask-mod", value as? String ?? ""]
      case "relativeRadius", "t5Buckets", "t5MaxDistance", "bidirectional": break  // told by the table
      default: return nil
      }
    }
    let options = [
      "mask": "mask", "bias": "bias", "slopes": "alibi", "relative": "relative-table",
      "lengths": "key-lengths",
      "blockMask": "block-mask", "blockCounts": "block-mask", "sinks": "sinks", "queryWeight": "query-weight",
      "keyWeight": "key-weight", "scoreWeight": "score-weight", "scoreMatrix": "score-matrix",
    ]
    var files: [String: String] = [:]
    for (name, file) in inputs where !["q", "k", "v", "t5"].contains(name) {
      guard let option = options[name] else { return nil }
      files["--" + option] = path(file)
    }
    (self.arguments, self.files) = (arguments, files)
  }
}

@Suite struct AttentionGoldenTests {
  @Test func thereAreMany() { #expect(Golden.all.count > 40) }

  @Test(arguments: Golden.all, places) fileprivate func agree(golden: Golden, place: String) throws {
    let scratch = try Scratch()
    var arguments = golden.operands + golden.arguments
    for (option, path) in golden.files {
      var file = try Numbers(path)
      // Counts of blocks are bytes here.
      if option == "--block-mask", file.descr == "<i4" { file.descr = "|u1" }
      arguments += [option, try file.write(scratch, String(option.dropFirst(2)) + ".npy")]
    }
    arguments += ["--output", scratch.path("o.npy"), "--lse", scratch.path("lse.npy")]
    let shown = golden.outputs["weights"]
    if shown != nil { arguments += ["--weights", scratch.path("w.npy")] }
    let result = try attend(arguments, on: place)
    try #require(result.status == 0, "\(result.errors)")
    func compare(_ name: String, _ truth: String?, _ limit: Double) throws {
      guard let truth = try truth.map({ try Numbers($0) }) else { return }
      let largest = truth.values.filter(\.isFinite).map(abs).max() ?? 0
      #expect(try Numbers(scratch.path(name)).distance(truth) < limit * max(1, largest), "\(name)")
    }
    try compare("o.npy", golden.outputs["out"], 1e-5)
    try compare("lse.npy", golden.outputs["lse"], 1e-5)
    try compare("w.npy", shown, 1e-5)
  }
}

// MARK: - Refusals

@Suite struct AttentionRefusalTests {
  private let scratch: Scratch
  private let operands: [String]

  init() throws {
    scratch = try Scratch()
    operands = try [("q", [2, 4, 6, 8]), ("k", [2, 2, 9, 8]), ("v", [2, 2, 9, 5])].map { [scratch] in
      try Numbers.random($1, seed: 1).write(scratch, $0 + ".npy")
    }
  }

  /// Runs, and expects one line with these pieces, no result, and nothing left behind.
  private func refuse(
    _ arguments: [String], _ status: Int32, _ pieces: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let before = try scratch.names()
    let output = arguments.contains("--output") ? [] : ["--output", scratch.path("o.npy")]
    let result = try attend(arguments + output)
    #expect(result.status == status, "\(result.errors)", sourceLocation: sourceLocation)
    #expect(result.output == "", sourceLocation: sourceLocation)
    #expect(result.errors.hasPrefix("flashcl: ") && result.errors.split(separator: "\n").count == 1)
    for piece in pieces {
      #expect(result.errors.contains(piece), "\(result.errors)", sourceLocation: sourceLocation)
    }
    #expect(try scratch.names() == before, sourceLocation: sourceLocation)
  }

  private func file(_ shape: [Int], _ descr: String = "<f4", _ values: [Double] = [0]) throws -> String {
    try Numbers(shape, descr: descr) { values[$0 % values.count] }.write(scratch, "x.npy")
  }

  @Test func usage() throws {
    for (arguments, piece) in [
      (["--window", "3"], "--window '3' is not L,R"), (["--window", "3,x"], "L,R"),
      (["--window", "3,-2"], "L,R"),
      (["--window", "1,2,3"], "L,R"), (["--global", "1,,2"], "--global '1,,2'"),
      (["--global", "-1"], "positions"),
      (["--global", ""], "positions"), (["--dilation", "0"], "--dilation 0"),
      (["--causal", "yes"], "upper-left"),
      (["--scale", "nan"], "--scale"), (["--softcap", "0"], "--softcap"), (["--softcap", "-1"], "--softcap"),
      (["--block", "16"], "--block-mask and --block"),
      (["--block-mask", "m.npy"], "--block-mask and --block"),
      (["--block-mask", "m.npy", "--block", "20"], "--block 20"),
      (["--page", "16"], "--block-table and --page"),
      (["--block-table", "t.npy"], "--block-table and --page"),
      (["--block-table", "t.npy", "--page", "16"], "needs --key-lengths"),
      (["--block-table", "t.npy", "--page", "24", "--key-lengths", "n.npy"], "multiple of 16"),
      (["--cu-seqlens-q", "a.npy"], "--cu-seqlens-q and --cu-seqlens-k"),
      (["--cu-seqlens-k", "a.npy"], "--cu-seqlens-q and --cu-seqlens-k"),
      (["--cu-seqlens-q", "a.npy", "--cu-seqlens-k", "a.npy", "--key-lengths", "n.npy"], "excludes"),
      (
        ["--cu-seqlens-q", "a.npy", "--cu-seqlens-k", "a.npy", "--weights", "w.npy"], "--weights needs dense"
      ),
      (["--kind", "general"], "--score-matrix"), (["--kind", "additive"], "--score-weight"),
      (["--score-matrix", "w.npy"], "--kind general"), (["--key-weight", "w.npy"], "--kind additive"),
      (["--kind", "cosine"], "gaussian"), (["--type", "f64"], "bf16"), (["--layout", "bldh"], "blhd"),
      (["--lse", scratch.path("o.npy")], "named twice"), (["more.npy"], "more.npy"),
      (["--mask", scratch.path("m.npy"), "--draw", scratch.path("./m.npy")], "named twice"),
    ] {
      try refuse(operands + arguments, 2, piece)
    }
    try refuse(Array(operands.dropLast()), 2, "v.npy")
    try refuse(operands + ["--output", operands[1]], 2, "k.npy", "named twice")
    try refuse(
      operands + ["--output", scratch.folder.path + "/../\(scratch.folder.lastPathComponent)/q.npy"], 2,
      "twice")
  }

  @Test func files() throws {
    try refuse(["/nonexistent/q.npy"] + operands.dropFirst(), 1, "/nonexistent/q.npy", "No such file")
    try refuse(operands + ["--mask", scratch.path("none.npy")], 1, "none.npy", "No such file")
    try refuse(operands + ["--output", "/nonexistent/o.npy"], 1, "/nonexistent/o.npy")
    try refuse(operands + ["--draw", "/nonexistent/m.svg"], 1, "/nonexistent/m.svg")
    try refuse(operands + ["--weights", scratch.folder.path], 1, scratch.folder.path)
    try Data("text".utf8).write(to: URL(fileURLWithPath: scratch.path("t.npy")))
    try refuse([scratch.path("t.npy")] + operands.dropFirst(), 1, "t.npy", "is not a .npy file")
  }

  @Test func types() throws {
    try refuse([try file([2, 4, 6, 8], "<f8")] + operands[1...], 1, "x.npy", "float64", "float32 or float16")
    try refuse([try file([2, 4, 6, 8], "<i4")] + operands[1...], 1, "holds int32", "float32 or float16")
    try refuse([try file([2, 4, 6, 8], "<f2")] + operands[1...], 1, "float16", "float32", "--type")
    for (option, shape, found, wanted) in [
      ("--mask", [6, 9], "|u1", "bool"), ("--bias", [6, 9], "<f8", "float32"),
      ("--sinks", [4], "<f2", "float32"),
      ("--key-lengths", [2], "<i8", "int32"), ("--alibi", [4], "<f8", "float32"),
      ("--relative-table", [4, 3], "<i4", "float32"),
    ] {
      let names = ["|u1": "uint8", "<f8": "float64", "<f2": "float16", "<i8": "int64", "<i4": "int32"]
      try refuse(
        operands + [option, try file(shape, found)], 1, "x.npy: holds \(names[found] ?? "")",
        "expected \(wanted)")
    }
    try refuse(
      operands + ["--block-mask", try file([1, 1], "<f4"), "--block", "16"], 1, "float32", "bool or uint8")
  }

  @Test func shapes() throws {
    let (q, k, v) = (operands[0], operands[1], operands[2])
    try refuse([try file([2, 6, 8]), k, v], 1, "[2, 6, 8]", "[B, H, L, D]")
    try refuse([try file([2, 3, 6, 8]), k, v], 1, "[2, 3, 6, 8]", "[2, 2, 9, 8]", "no multiple of 2")
    try refuse([try file([1, 4, 6, 8]), k, v], 1, "[1, 4, 6, 8]", "[2, 2, 9, 8]")
    try refuse([try file([2, 4, 6, 7]), k, v], 1, "[2, 4, 6, 7]", "[2, 2, 9, 8]", "heads of 7 and of 8")
    try refuse([try file([2, 4, 6, 513]), k, v], 1, "[2, 4, 6, 513]", "512")
    try refuse([q, k, try file([2, 2, 8, 5])], 1, "[2, 2, 9, 8]", "[2, 2, 8, 5]")
    try refuse(operands + ["--layout", "blhd"], 1, "[2, 4, 6, 8]", "[2, 2, 9, 8]")
    for (option, shape, type, wanted) in [
      ("--mask", [6, 8], "|b1", "[2, 4, 6, 9]"), ("--mask", [1, 2, 4, 6, 9], "|b1", "[2, 4, 6, 9]"),
      ("--bias", [4, 5, 9], "<f4", "[2, 4, 6, 9]"), ("--sinks", [2], "<f4", "[4]"),
      ("--alibi", [3], "<f4", "[4]"),
      ("--relative-table", [4, 4], "<f4", "odd"), ("--relative-table", [2, 3], "<f4", "[4, any]"),
      ("--key-lengths", [3], "<i4", "[2]"),
    ] {
      try refuse(operands + [option, try file(shape, type)], 1, "\(shape)", wanted)
    }
    try refuse(operands + ["--block-mask", try file([2, 1], "|b1"), "--block", "16"], 1, "[1, 1]", "[2, 1]")
    try refuse(operands + ["--kind", "general", "--score-matrix", try file([8, 7])], 1, "[8, 8]", "[8, 7]")
    try refuse(operands + ["--global", "9"], 1, "--global 9", "9 keys")
  }

  @Test func lengthsAndTables() throws {
    try refuse(operands + ["--key-lengths", try file([2], "<i4", [3, 10])], 1, "sequence 1", "10", "9 keys")
    try refuse(operands + ["--key-lengths", try file([2], "<i4", [-1])], 1, "sequence 0", "-1")
    let packed = try [("p", [1, 4, 6, 8]), ("r", [1, 2, 9, 8]), ("s", [1, 2, 9, 5])].map {
      try Numbers.random($1, seed: 1).write(scratch, $0 + ".npy")
    }
    let good = try Numbers([3], descr: "<i4") { [0, 2, 9][$0] }.write(scratch, "good.npy")
    for starts in [[0, 2, 5], [1, 2, 6], [0, 7, 6], [0, 2, 7]] as [[Double]] {
      try refuse(
        packed + ["--cu-seqlens-q", try file([3], "<i4", starts), "--cu-seqlens-k", good], 1, "x.npy",
        "6 positions",
        "[\(starts.map { "\(Int($0))" }.joined(separator: ", "))]")
    }
    try refuse(
      packed + ["--cu-seqlens-q", try file([2], "<i4", [0, 6]), "--cu-seqlens-k", good], 1, "starts", "[2]",
      "[3]")
    try refuse(
      operands + ["--cu-seqlens-q", try file([3], "<i4", [0, 2, 6]), "--cu-seqlens-k", good], 1,
      "[2, 4, 6, 8]")
    let pages = [
      operands[0], try Numbers.random([3, 2, 16, 8], seed: 1).write(scratch, "pk.npy"),
      try Numbers.random([3, 2, 16, 5], seed: 1).write(scratch, "pv.npy"), "--page", "16",
    ]
    let lengths = try Numbers([2], descr: "<i4") { [20, 9][$0] }.write(scratch, "n.npy")
    try refuse(
      pages + ["--key-lengths", lengths, "--block-table", try file([2, 2], "<i4", [0, 3, 1, 2])], 1, "x.npy",
      "block 1 of sequence 0 is page 3", "pk.npy has 3")
    try refuse(
      pages + ["--key-lengths", lengths, "--block-table", try file([2, 1], "<i4", [0])], 1, "n.npy",
      "length 20",
      "16 tokens")
    try refuse(
      pages + ["--key-lengths", lengths, "--block-table", try file([3, 2], "<i4", [0])], 1, "[3, 2]",
      "[2, any]")
    let table = try file([2, 2], "<i4", [0, 1])
    try refuse(
      pages.dropLast() + ["32", "--key-lengths", lengths, "--block-table", table], 1, "[3, 2, 16, 8]",
      "pages of 16")
  }

  /// The compiler's words, in one line, with the expression as it was given.
  @Test(arguments: places) func expressions(place: String) throws {
    for (option, text) in [("--score-mod", "score + nothing"), ("--mask-mod", "i <"), ("--mask-mod", "i; j")]
    {
      let result = try attend(operands + [option, text, "--output", scratch.path("o.npy")], on: place)
      #expect(result.status == 1)
      let errors = result.errors.split(separator: "\n").filter {
        $0.hasPrefix("flashcl: ") && !$0.contains("no GPU")
      }
      #expect(errors.count == 1 && errors[0].contains(text), "\(result.errors)")
    }
    #expect(try scratch.names() == ["k.npy", "q.npy", "v.npy"])
  }

  /// Computed, and then a disk that takes the result and not the weights: the older file stands, and nothing else.
  @Test func aFullDiskLeavesNothingHalf() throws {
    try scratch.file("o.npy", "older").close()
    try Numbers([2, 2, 99, 8]) { _ in 0 }.write(scratch, "k.npy")
    try Numbers([2, 2, 99, 5]) { _ in 0 }.write(scratch, "v.npy")
    let command =
      [flashcl.path, "attention"] + operands
      + ["--output", scratch.path("o.npy"), "--weights", scratch.path("w.npy")]
    let result = try run(
      ["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "sh"] + command,
      program: URL(fileURLWithPath: "/bin/sh"))
    #expect(result.status == 1 && result.errors.contains("w.npy"), "\(result.errors)")
    #expect(try String(contentsOfFile: scratch.path("o.npy"), encoding: .utf8) == "older")
    #expect(try scratch.names() == ["k.npy", "o.npy", "q.npy", "v.npy"])
  }
}
