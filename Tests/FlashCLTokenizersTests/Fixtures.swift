@testable import FlashCLTokenizers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The files that `Fixtures/make_goldens.py` made; its head says what is in them.
enum Fixture {
  static func read<Value: Decodable>(_ name: String, as type: Value.Type = Value.self) throws -> Value {
    try JSONDecoder().decode(type, from: Data(contentsOf: folder.appending(path: name)))
  }

  static func read(bytes name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: folder.appending(path: name)))
  }

  static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")

  /// Where fetched models lie; nothing in it is needed but for the tests that say so.
  static let cache: URL = {
    let environment = ProcessInfo.processInfo.environment
    return environment["FLASHCL_CACHE"].map { URL(filePath: $0) }
      ?? URL(filePath: environment["HOME"] ?? ".").appending(path: ".cache/flashcl")
  }()

  static func bytes(cached name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: cache.appending(path: "models").appending(path: name)))
  }

  static func isCached(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: cache.appending(path: "models").appending(path: name).path())
  }
}

/// Ids and text of every string of strings.json, by the `tokenizers` package.
struct Goldens: Decodable {
  var plain: [[Int32]]
  var special: [[Int32]]
  var decoded: [String]
  var skipped: [String?]
}

/// A vocabulary as the script writes it.
struct VocabularyFile: Decodable {
  struct Added: Decodable {
    var content: String
    var id: Int32
    var special, lstrip, rstrip, normalized, single_word: Bool
  }

  var pieces: [String?]
  var merges: [[String]]?
  var added: [Added]

  init(_ name: String) throws { self = try Fixture.read(name) }

  init(cached name: String) throws {
    self = try JSONDecoder().decode(Self.self, from: Data(Fixture.bytes(cached: name)))
  }

  func vocabulary() throws -> Vocabulary {
    try Vocabulary(
      pieces.enumerated().compactMap { id, piece in piece.map { (piece: $0, id: Int32(id)) } })
  }

  var mergePairs: [ByteLevelBPE.Merge] { (merges ?? []).map { ByteLevelBPE.Merge($0[0], $0[1]) } }

  var addedTokens: [AddedToken] {
    added.map {
      AddedToken(
        $0.content, id: $0.id, isSpecial: $0.special, stripsLeft: $0.lstrip, stripsRight: $0.rstrip,
        isNormalized: $0.normalized, isSingleWord: $0.single_word)
    }
  }

  func byteLevel(
    _ preTokenizer: PreTokenizer, merges count: Int? = nil, normalizers: [Normalizer] = [],
    ignoreMerges: Bool = false, prefix: [Int32] = []
  ) throws -> ByteLevelBPE {
    try ByteLevelBPE(
      vocabulary: vocabulary(), merges: Array(mergePairs.prefix(count ?? .max)), added: addedTokens,
      normalizers: normalizers, preTokenizer: preTokenizer, ignoreMerges: ignoreMerges,
      template: Template(prefix: prefix))
  }

  func wordPiece(_ normalizer: BertNormalizer = BertNormalizer()) throws -> WordPiece {
    let vocabulary = try vocabulary()
    return try WordPiece(
      vocabulary: vocabulary, added: addedTokens, normalizers: [.bert(normalizer)],
      template: Template(
        prefix: [vocabulary.id(of: "[CLS]")].compactMap { $0 },
        suffix: [vocabulary.id(of: "[SEP]")].compactMap { $0 }))
  }
}

/// The tokenisers of the goldens, by the name of their file.
enum Small {
  static let names = [
    "gpt2", "gpt2_prefix_space", "smollm", "llama_bpe", "qwen2", "wordpiece", "wordpiece_cased",
  ]

  static func make(_ name: String) throws -> any Tokenizer {
    let bpe = try VocabularyFile("bpe.json")
    let words = try VocabularyFile("wordpiece.json")
    return switch name {
    case "gpt2": try bpe.byteLevel(PreTokenizer(named: "gpt-2"))
    case "gpt2_prefix_space":
      try bpe.byteLevel(PreTokenizer(PreTokenizer.Step.byteLevel(addPrefixSpace: true, useRegex: true)))
    case "smollm": try bpe.byteLevel(PreTokenizer(named: "smollm"))
    case "llama_bpe":
      try bpe.byteLevel(
        PreTokenizer(named: "llama-bpe"), merges: bpe.mergePairs.count / 2, ignoreMerges: true,
        prefix: bpe.added.filter { $0.content == "<s>" }.map(\.id))
    case "qwen2": try bpe.byteLevel(PreTokenizer(named: "qwen2"), normalizers: [.nfc])
    case "wordpiece": try words.wordPiece()
    default: try words.wordPiece(BertNormalizer(lowercase: false))
    }
  }
}

/// A repeatable random number generator (SplitMix64).
struct Chance: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Text of scalars from every corner: ASCII, spaces, letters, digits, marks, and any scalar at all.
  mutating func text(length: Int) -> String {
    let corners: [ClosedRange<UInt32>] = [
      0...127, 32...126, 9...13, 0x80...0xFF, 0x300...0x36F, 0x2000...0x206F, 0x4E00...0x4E20,
      0xAC00...0xAC20,
      0x1F600...0x1F64F, 0x0...0x10FFFF,
    ]
    var scalars = String.UnicodeScalarView()
    while scalars.count < length {
      guard let corner = corners.randomElement(using: &self) else { break }
      if let scalar = Unicode.Scalar(UInt32.random(in: corner, using: &self)) { scalars.append(scalar) }
    }
    return String(scalars)
  }
}
