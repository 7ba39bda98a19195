import FlashCLFiles
import FlashCLTokenizers

/// tokenizer.json of the `tokenizers` package: a model, and the parts before and after it.
enum TokenizerJSON {
  /// Throws `TokenizerError.unsupported`, which names the part, for what is not implemented.
  static func load(_ json: JSON) throws -> any Tokenizer {
    let model = json["model"]
    let kind = model?["type"]?.string ?? (model?["merges"] == nil ? "WordPiece" : "BPE")
    let added = try (json["added_tokens"]?.array ?? []).map { try addedToken($0) }
    let normalizers = try normalizers(json["normalizer"])
    let preTokenizer = PreTokenizer(try steps(json["pre_tokenizer"]))
    let template = try template(json["post_processor"]) ?? Template()
    switch kind {
    case "BPE":
      if let prefix = model?["continuing_subword_prefix"]?.string, !prefix.isEmpty {
        throw TokenizerError.unsupported(part: "continuing_subword_prefix", value: prefix, known: ["none"])
      }
      let suffix = model?["end_of_word_suffix"]?.string ?? ""
      guard hasByteLevel(json["pre_tokenizer"]) else {
        let vocabulary = try vocabulary(model)
        let bpe = try CharacterBPE(
          vocabulary: vocabulary, merges: merges(model), unknown: unknown(model, in: vocabulary),
          fusesUnknown: model?["fuse_unk"]?.bool ?? false,
          byteFallback: model?["byte_fallback"]?.bool ?? false,
          ignoreMerges: model?["ignore_merges"]?.bool ?? false, wordSuffix: suffix)
        return try SubwordTokenizer(
          vocabulary: vocabulary, model: .bpe(bpe), added: added, normalizers: normalizers,
          preTokenizer: preTokenizer, template: template, decoder: decoder(json["decoder"]))
      }
      return try ByteLevelBPE(
        vocabulary: vocabulary(model), merges: merges(model), added: added, normalizers: normalizers,
        preTokenizer: preTokenizer, ignoreMerges: model?["ignore_merges"]?.bool ?? false,
        template: template, trimming: trimming(json["post_processor"]), wordSuffix: suffix)
    case "WordPiece":
      return try WordPiece(
        vocabulary: vocabulary(model), added: added, unknown: model?["unk_token"]?.string ?? "[UNK]",
        continuation: model?["continuing_subword_prefix"]?.string ?? "##",
        maxCharactersPerWord: model?["max_input_chars_per_word"]?.int ?? 100, normalizers: normalizers,
        preTokenizer: preTokenizer, template: template, cleanup: json["decoder"]?["cleanup"]?.bool ?? true)
    case "Unigram":
      let pieces = try unigram(model)
      let unigram = try Unigram(
        pieces, unknown: model?["unk_id"]?.int.flatMap { Int32(exactly: $0) },
        byteFallback: model?["byte_fallback"]?.bool ?? false)
      return try SubwordTokenizer(
        vocabulary: Vocabulary(pieces.map(\.text)), model: .unigram(unigram), added: added,
        normalizers: normalizers, preTokenizer: preTokenizer, template: template,
        decoder: decoder(json["decoder"]))
    case "WordLevel":
      let vocabulary = try vocabulary(model)
      // Its unknown token need not be a piece, as long as every word is.
      let unknown = model?["unk_token"]?.string.flatMap { vocabulary.id(of: $0) }
      return try SubwordTokenizer(
        vocabulary: vocabulary, model: .lexicon(Lexicon(words: vocabulary, unknown: unknown)), added: added,
        normalizers: normalizers, preTokenizer: preTokenizer, template: template,
        decoder: decoder(json["decoder"]))
    default:
      throw TokenizerError.unsupported(
        part: "model", value: kind, known: ["BPE", "Unigram", "WordLevel", "WordPiece"])
    }
  }

  // MARK: The model

  private static func unknown(_ model: JSON?, in vocabulary: Vocabulary) throws -> Int32? {
    guard let piece = model?["unk_token"]?.string else { return nil }
    guard let id = vocabulary.id(of: piece) else {
      throw TokenizerError.badVocabulary("the unknown token '\(piece)' is not a piece")
    }
    return id
  }

  private static func unigram(_ model: JSON?) throws -> [Unigram.Piece] {
    try (model?["vocab"]?.array ?? []).enumerated().map { id, piece in
      guard let text = piece[0]?.string, let score = piece[1]?.double else {
        throw TokenizerError.badVocabulary("the piece \(id) is no pair of a text and a score")
      }
      return Unigram.Piece(text, score: score)
    }
  }

  /// A vocabulary that is an object of pieces with their ids.
  static func vocabulary(_ model: JSON?) throws -> Vocabulary {
    try vocabulary(members: model?["vocab"]?.object ?? [])
  }

  static func vocabulary(members: [JSON.Member]) throws -> Vocabulary {
    try Vocabulary(
      members.map { member in
        guard let id = member.value.int.flatMap({ Int32(exactly: $0) }) else {
          throw TokenizerError.badVocabulary("the piece '\(member.key)' has no id")
        }
        return (piece: member.key.string, id: id)
      })
  }

  private static func merges(_ model: JSON?) throws -> [ByteLevelBPE.Merge] {
    try (model?["merges"]?.array ?? []).map { merge in
      if let line = merge.string { return try ByteLevelBPE.Merge(line: line) }
      guard let left = merge[0]?.string, let right = merge[1]?.string else {
        throw TokenizerError.badVocabulary("a merge is neither a line nor a pair")
      }
      return ByteLevelBPE.Merge(left, right)
    }
  }

  /// An added token, whose id is one of its members unless it is given.
  static func addedToken(_ token: JSON, id given: Int32? = nil) throws -> AddedToken {
    guard let content = token["content"]?.string,
      let id = given ?? token["id"]?.int.flatMap({ Int32(exactly: $0) })
    else {
      throw TokenizerError.badVocabulary("an added token has no content or no id")
    }
    func flag(_ name: String) -> Bool { token[name]?.bool ?? false }
    return AddedToken(
      content, id: id, isSpecial: flag("special"), stripsLeft: flag("lstrip"), stripsRight: flag("rstrip"),
      isNormalized: flag("normalized"), isSingleWord: flag("single_word"))
  }

  // MARK: Before the model

  static func normalizers(_ json: JSON?) throws -> [Normalizer] {
    guard let json, !json.isNull else { return [] }
    func flag(_ name: String) -> Bool { json[name]?.bool ?? true }
    switch json["type"]?.string ?? "" {
    case "Sequence": return try (json["normalizers"]?.array ?? []).flatMap { try normalizers($0) }
    case "NFC": return [.nfc]
    case "NFD": return [.nfd]
    case "NFKC": return [.nfkc]
    case "NFKD": return [.nfkd]
    case "Lowercase": return [.lowercase]
    case "StripAccents": return [.stripAccents]
    case "Nmt": return [.nmt]
    case "Strip": return [.strip(left: flag("strip_left"), right: flag("strip_right"))]
    case "Prepend": return [.prepend(json["prepend"]?.string ?? "")]
    case "Replace": return [.replace(try pattern(json), by: json["content"]?.string ?? "")]
    case "Precompiled":
      guard let text = json["precompiled_charsmap"]?.string, let bytes = Base64.decode(text) else {
        throw TokenizerError.badVocabulary("the character map is not there, or not base64")
      }
      return [.precompiled(try Charsmap(bytes))]
    case "BertNormalizer":
      return [
        .bert(
          BertNormalizer(
            cleanText: flag("clean_text"), handleChineseChars: flag("handle_chinese_chars"),
            stripAccents: json["strip_accents"]?.bool, lowercase: flag("lowercase")))
      ]
    case let other:
      throw TokenizerError.unsupported(
        part: "normalizer", value: other,
        known: [
          "Sequence", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "Strip", "Prepend",
          "Replace", "Precompiled", "BertNormalizer",
        ])
    }
  }

  static func pattern(_ json: JSON) throws -> TextPattern {
    if let string = json["pattern"]?["String"]?.string { return .literal(string) }
    guard let regex = json["pattern"]?["Regex"]?.string else {
      throw TokenizerError.badVocabulary("a pattern is neither a String nor a Regex")
    }
    return try TextPattern(regex: regex)
  }

  static func hasByteLevel(_ json: JSON?) -> Bool {
    json?["type"]?.string == "ByteLevel"
      || (json?["pretokenizers"]?.array ?? []).contains(where: hasByteLevel)
  }

  static func steps(_ json: JSON?) throws -> [PreTokenizer.Step] {
    guard let json, !json.isNull else { return [] }
    switch json["type"]?.string ?? "" {
    case "Sequence": return try (json["pretokenizers"]?.array ?? []).flatMap { try steps($0) }
    case "ByteLevel":
      return PreTokenizer.Step.byteLevel(
        addPrefixSpace: json["add_prefix_space"]?.bool ?? true, useRegex: json["use_regex"]?.bool ?? true)
    case "Digits": return [.digits(individual: json["individual_digits"]?.bool ?? false)]
    case "Split":
      let (behavior, inverted) = (json["behavior"]?.string ?? "Isolated", json["invert"]?.bool ?? false)
      if let regex = json["pattern"]?["Regex"]?.string {
        return [try .split(regex: regex, behavior: behavior, invert: inverted)]
      }
      return [.splitAt(try pattern(json), try splitBehavior(json), inverted: inverted)]
    case "BertPreTokenizer": return [.bert]
    case "WhitespaceSplit": return [.whitespaceSplit]
    case "Whitespace": return [.words]
    case "Punctuation": return [.punctuation(try splitBehavior(json))]
    case "Metaspace":
      let (mark, scheme) = try metaspace(json)
      return [.metaspace(mark: mark, scheme, split: json["split"]?.bool ?? true)]
    case let other:
      throw TokenizerError.unsupported(
        part: "pre-tokeniser", value: other,
        known: [
          "Sequence", "ByteLevel", "Digits", "Split", "BertPreTokenizer", "WhitespaceSplit", "Whitespace",
          "Punctuation", "Metaspace",
        ])
    }
  }

  private static func splitBehavior(_ json: JSON) throws -> SplitBehavior {
    let name = json["behavior"]?.string ?? "Isolated"
    guard let behavior = SplitBehavior(rawValue: name) else {
      throw TokenizerError.unsupported(
        part: "Split behaviour", value: name,
        known: ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
    }
    return behavior
  }

  /// The mark of a Metaspace, and where it is put; older files say only whether it is put.
  static func metaspace(_ json: JSON) throws -> (mark: Unicode.Scalar, scheme: PreTokenizer.PrefixScheme) {
    let mark = json["replacement"]?.string ?? "\u{2581}"
    guard mark.unicodeScalars.count == 1, let scalar = mark.unicodeScalars.first else {
      throw TokenizerError.badVocabulary("Metaspace's replacement '\(mark)' is not one character")
    }
    guard let name = json["prepend_scheme"]?.string else {
      return (scalar, json["add_prefix_space"]?.bool ?? true ? .always : .never)
    }
    guard let scheme = PreTokenizer.PrefixScheme(rawValue: name) else {
      throw TokenizerError.unsupported(
        part: "prepend_scheme", value: name, known: ["always", "first", "never"])
    }
    return (scalar, scheme)
  }

  // MARK: After the model

  private static func decoder(_ json: JSON?) throws -> PieceDecoder {
    guard let json, !json.isNull else { return try PieceDecoder([.spaces]) }
    return try PieceDecoder(decoderSteps(json))
  }

  private static func decoderSteps(_ json: JSON) throws -> [PieceDecoder.Step] {
    switch json["type"]?.string ?? "" {
    case "Sequence": return try (json["decoders"]?.array ?? []).flatMap { try decoderSteps($0) }
    case "ByteFallback": return [.byteFallback]
    case "Fuse": return [.fuse]
    case "BPEDecoder": return [.suffix(json["suffix"]?.string ?? "</w>")]
    case "Metaspace":
      let (mark, scheme) = try metaspace(json)
      return [.metaspace(mark: mark, scheme)]
    case "Replace":
      guard case .literal(let string) = try pattern(json) else {
        throw TokenizerError.unsupported(part: "decoder", value: "Replace of a pattern", known: ["a string"])
      }
      return [.replace(string, by: json["content"]?.string ?? "")]
    case "Strip":
      let content = json["content"]?.string ?? ""
      guard content.unicodeScalars.count == 1, let scalar = content.unicodeScalars.first,
        let start = json["start"]?.int, let stop = json["stop"]?.int, start >= 0, stop >= 0
      else { throw TokenizerError.badVocabulary("the decoder Strip needs one character, and two counts") }
      return [.strip(scalar, start: start, stop: stop)]
    case let other:
      throw TokenizerError.unsupported(
        part: "decoder", value: other,
        known: ["Sequence", "BPEDecoder", "ByteFallback", "Fuse", "Metaspace", "Replace", "Strip"])
    }
  }

  /// The post-processor's places for special tokens, or nil if it has none.
  private static func template(_ json: JSON?) throws -> Template? {
    guard let json, !json.isNull else { return nil }
    switch json["type"]?.string ?? "" {
    case "ByteLevel": return nil
    case "Sequence":
      return try (json["processors"]?.array ?? []).compactMap { try template($0) }.last
    case "BertProcessing":
      return Template(prefix: try edge("cls", json), suffix: try edge("sep", json))
    case "RobertaProcessing":
      let (cls, sep) = (try edge("cls", json), try edge("sep", json))
      return Template(prefix: cls, suffix: sep, middle: sep, second: 0)
    case "TemplateProcessing":
      return Template(single: try parts("single", json), pair: try parts("pair", json))
    case let other:
      throw TokenizerError.unsupported(
        part: "post-processor", value: other,
        known: ["ByteLevel", "Sequence", "BertProcessing", "RobertaProcessing", "TemplateProcessing"])
    }
  }

  /// A special token, written `[spelling, id]`.
  private static func edge(_ name: String, _ json: JSON) throws -> [Int32] {
    guard let id = json[name]?[1]?.int.flatMap({ Int32(exactly: $0) }) else {
      throw TokenizerError.badVocabulary("the post-processor's \(name) has no id")
    }
    return [id]
  }

  private static func parts(_ name: String, _ json: JSON) throws -> [Template.Part] {
    try (json[name]?.array ?? []).flatMap { item -> [Template.Part] in
      func segment(_ part: JSON?) -> Int32 { part?["type_id"]?.int.flatMap { Int32(exactly: $0) } ?? 0 }
      if let text = item["Sequence"] {
        let segment = segment(text)
        return [text["id"]?.string == "B" ? .second(segment: segment) : .first(segment: segment)]
      }
      let token = item["SpecialToken"]
      guard let spelling = token?["id"]?.string,
        let ids = json["special_tokens"]?[spelling]?["ids"]?.array
      else {
        throw TokenizerError.badVocabulary("the post-processor's \(name) names a token that has no ids")
      }
      return try ids.map { id in
        guard let id = id.int.flatMap({ Int32(exactly: $0) }) else {
          throw TokenizerError.badVocabulary("the post-processor's token '\(spelling)' has no id")
        }
        return .token(id, segment: segment(token))
      }
    }
  }

  /// How a ByteLevel or RobertaProcessing leaves spaces out of tokens' places.
  private static func trimming(_ json: JSON?) -> OffsetTrimming? {
    let processors = json?["processors"]?.array ?? [json].compactMap { $0 }
    for processor in processors where ["ByteLevel", "RobertaProcessing"].contains(processor["type"]?.string) {
      guard processor["trim_offsets"]?.bool ?? true else { continue }
      return OffsetTrimming(addsPrefixSpace: processor["add_prefix_space"]?.bool ?? true)
    }
    return nil
  }
}
