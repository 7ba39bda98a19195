import FlashCLFiles
import FlashCLTokenizers

/// The tokenizers of folders that have a SentencePiece model and no tokenizer.json.
enum SentencePieceFiles {
  static let names = ["spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "spm.model"]

  /// The families whose special tokens are known, by `model_type` of config.json.
  private static let families: [(types: [String], make: @Sendable (Parts) throws -> any Tokenizer)] = [
    (["t5", "mt5", "umt5", "longt5"], t5),
    (["llama", "mistral", "mixtral", "gemma", "gemma2", "phi3"], llama),
    (["albert"], albert),
    (["deberta-v2"], deberta),
    (["xlnet"], xlnet),
    (["xlm-roberta", "camembert"], xlmRoberta),
    (["mbart"], mBART),
  ]

  /// What a family makes its tokenizer of.
  private struct Parts {
    var model: SentencePieceModel
    var config: JSON
    var tokenizerConfig: JSON?

    func flag(_ name: String, default value: Bool) -> Bool { tokenizerConfig?[name]?.bool ?? value }

    /// The id of a special token, or an error that names it.
    func id(_ piece: String) throws -> Int32 {
      guard let id = model.pieces.firstIndex(where: { $0.text == piece }) else {
        throw TokenizerError.badVocabulary("the special token '\(piece)' is not a piece")
      }
      return Int32(id)
    }
  }

  /// The tokenizer of a folder, or nil if it has no SentencePiece model.
  static func load(_ folder: ModelFolder) throws -> (any Tokenizer)? {
    for name in names {
      guard let file = try folder.file(name) else { continue }
      let type = folder.config["model_type"]?.string ?? ""
      guard let family = families.first(where: { $0.types.contains(type) }) else {
        throw TokenizerError.unsupported(
          part: "family (config.json's model_type, with no tokenizer.json)", value: type,
          known: families.flatMap(\.types))
      }
      return try family.make(
        Parts(
          model: SentencePieceModel(file.contents()), config: folder.config,
          tokenizerConfig: folder.json("tokenizer_config.json")))
    }
    return nil
  }

  /// Marian's two SentencePiece models and the vocabulary that both share, or one for each side.
  ///
  /// `isTarget` asks for the side that the decoder reads and writes. Nil if the folder has no such models.
  static func marian(_ folder: ModelFolder, isTarget: Bool) throws -> (any Tokenizer)? {
    guard let file = try folder.file(isTarget ? "target.spm" : "source.spm") else { return nil }
    let separate = isTarget ? try folder.json("target_vocab.json") : nil
    guard let vocabulary = try separate ?? folder.json("vocab.json") else {
      throw TokenizerError.badVocabulary("source.spm is there, but no vocab.json with the ids of its pieces")
    }
    let members = vocabulary.object ?? []
    let all = try TokenizerJSON.vocabulary(members: members)
    func special(_ piece: String) throws -> AddedToken {
      guard let id = all.id(of: piece) else {
        throw TokenizerError.badVocabulary("the special token '\(piece)' is not in the vocabulary")
      }
      return AddedToken(piece, id: id, isSpecial: true)
    }
    let end = try special("</s>")
    // The language of a many-to-many model stands before the text: `>>fra<<`.
    let languages = members.map(\.key.string).filter { $0.hasPrefix(">>") && $0.hasSuffix("<<") }
    let added = try ([end, special("<unk>")] + (all.id(of: "<pad>") == nil ? [] : [special("<pad>")]))
    let ends: [Template.Part] = [.token(end.id, segment: 0)]
    return try SentencePieceModel(file.contents()).tokenizer(
      vocabulary: all, added: added + languages.map(special),
      template: Template(
        single: [.first(segment: 0)] + ends, pair: [.first(segment: 0), .second(segment: 0)] + ends))
  }

  // MARK: The families

  /// Sentinels come after the pieces, the first of them last.
  private static func t5(_ parts: Parts) throws -> any Tokenizer {
    let count = max(0, min(parts.tokenizerConfig?["extra_ids"]?.int ?? 100, 10_000))
    let first = parts.model.pieces.count
    var pieces = parts.model.pieces.map(\.text)
    var sentinels: [AddedToken] = []
    for place in 0..<count where !pieces.contains("<extra_id_\(count - 1 - place)>") {
      let piece = "<extra_id_\(count - 1 - place)>"
      sentinels.append(
        AddedToken(
          piece, id: Int32(first + sentinels.count), isSpecial: true, stripsLeft: true, stripsRight: true))
    }
    pieces += sentinels.map(\.content)
    return try parts.model.tokenizer(
      vocabulary: Vocabulary(pieces), added: sentinels,
      template: Template(suffix: [parts.id("</s>")], second: 0))
  }

  private static func llama(_ parts: Parts) throws -> any Tokenizer {
    let begin = parts.flag("add_bos_token", default: true) ? [try parts.id(edge("bos", "<s>", parts))] : []
    let end = parts.flag("add_eos_token", default: false) ? [try parts.id(edge("eos", "</s>", parts))] : []
    return try parts.model.tokenizer(
      template: Template(prefix: begin, suffix: end, middle: begin, second: 1))
  }

  /// The spelling of a special token: what tokenizer_config.json says, or `fallback`.
  private static func edge(_ name: String, _ fallback: String, _ parts: Parts) -> String {
    let token = parts.tokenizerConfig?["\(name)_token"]
    let fallback = fallback == "<s>" && !parts.model.pieces.contains { $0.text == "<s>" } ? "<bos>" : fallback
    return token?["content"]?.string ?? token?.string ?? fallback
  }

  private static func albert(_ parts: Parts) throws -> any Tokenizer {
    try parts.model.tokenizer(
      added: [AddedToken("[MASK]", id: parts.id("[MASK]"), isSpecial: true, stripsLeft: true)],
      normalizers: cleaning(parts, lowercase: true),
      template: Template(prefix: [parts.id("[CLS]")], suffix: [parts.id("[SEP]")]))
  }

  private static func deberta(_ parts: Parts) throws -> any Tokenizer {
    // The mask comes after the pieces where it is none of them.
    var vocabulary: Vocabulary?
    var added: [AddedToken] = []
    if !parts.model.pieces.contains(where: { $0.text == "[MASK]" }) {
      vocabulary = try Vocabulary(parts.model.pieces.map(\.text) + ["[MASK]"])
      added = [AddedToken("[MASK]", id: Int32(parts.model.pieces.count), isSpecial: true)]
    }
    return try parts.model.tokenizer(
      vocabulary: vocabulary, added: added,
      normalizers: parts.flag("do_lower_case", default: false) ? [.lowercase] : [],
      template: Template(prefix: [parts.id("[CLS]")], suffix: [parts.id("[SEP]")]))
  }

  private static func xlnet(_ parts: Parts) throws -> any Tokenizer {
    let (separator, classifier) = (try parts.id("<sep>"), try parts.id("<cls>"))
    let end = Template.Part.token(classifier, segment: 2)
    let first: [Template.Part] = [.first(segment: 0), .token(separator, segment: 0)]
    return try parts.model.tokenizer(
      added: [AddedToken("<mask>", id: parts.id("<mask>"), isSpecial: true, stripsLeft: true)],
      normalizers: cleaning(parts, lowercase: false),
      template: Template(
        single: first + [end],
        pair: first + [.second(segment: 1), .token(separator, segment: 1), end]))
  }

  /// What ALBERT's and XLNet's tokenizers do before SentencePiece.
  private static func cleaning(_ parts: Parts, lowercase: Bool) -> [Normalizer] {
    var steps: [Normalizer] = [
      .replace(.literal("``"), by: "\""), .replace(.literal("''"), by: "\""),
    ]
    if parts.flag("remove_space", default: true) {
      steps = [.replace(.run(.space, atLeast: 1), by: " "), .strip(left: true, right: true)] + steps
    }
    if !parts.flag("keep_accents", default: false) { steps += [.nfkd, .stripAccents] }
    return steps + (parts.flag("do_lower_case", default: lowercase) ? [.lowercase] : [])
  }

  /// Fairseq's ids: four special tokens, the pieces from the fourth on, and what is added.
  private static func fairseq(_ model: SentencePieceModel, _ added: [String]) -> [String] {
    ["<s>", "<pad>", "</s>", "<unk>"] + model.pieces.dropFirst(3).map(\.text) + added
  }

  private static func xlmRoberta(_ parts: Parts) throws -> any Tokenizer {
    let pieces = fairseq(parts.model, ["<mask>"])
    return try parts.model.tokenizer(
      vocabulary: Vocabulary(pieces), added: fairseqTokens(pieces, mask: pieces.count - 1),
      template: Template(prefix: [0], suffix: [2], middle: [2], second: 0))
  }

  private static func mBART(_ parts: Parts) throws -> any Tokenizer {
    let languages = [
      "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN", "it_IT",
      "ja_XX", "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK",
      "tr_TR", "vi_VN", "zh_CN",
    ]
    let pieces = fairseq(parts.model, languages + ["<mask>"])
    let first = pieces.count - languages.count - 1
    let source = parts.tokenizerConfig?["src_lang"]?.string ?? "en_XX"
    guard let language = languages.firstIndex(of: source) else {
      throw TokenizerError.unsupported(part: "language", value: source, known: languages)
    }
    let codes = languages.indices.map {
      AddedToken(languages[$0], id: Int32(first + $0), isSpecial: true)
    }
    let ends: [Template.Part] = [.token(2, segment: 0), .token(Int32(first + language), segment: 0)]
    return try parts.model.tokenizer(
      vocabulary: Vocabulary(pieces), added: fairseqTokens(pieces, mask: pieces.count - 1) + codes,
      template: Template(
        single: [.first(segment: 0)] + ends, pair: [.first(segment: 0), .second(segment: 0)] + ends))
  }

  private static func fairseqTokens(_ pieces: [String], mask: Int) -> [AddedToken] {
    (0..<4).map { AddedToken(pieces[$0], id: Int32($0), isSpecial: true) }
      + [AddedToken(pieces[mask], id: Int32(mask), isSpecial: true, stripsLeft: true)]
  }
}
