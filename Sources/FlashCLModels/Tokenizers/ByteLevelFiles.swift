import FlashCLFiles
import FlashCLTokenizers

/// The tokenizers of folders that have vocab.json and merges.txt, and no tokenizer.json: GPT-2, RoBERTa, BART.
enum ByteLevelFiles {
  private struct Family: Sendable {
    var types: [String]
    /// The tokens around a text, if there are any.
    var edges: (begin: String, end: String)?
    var isRoberta = false
    var steps: [PreTokenizer.Step] = [.split(.gpt2)]
    var normalizers: [Normalizer] = []
  }

  private static let families = [
    Family(types: ["gpt2", "gptj", "gpt_neo", "opt"]),
    Family(types: ["roberta", "bart", "longformer", "led"], edges: ("<s>", "</s>"), isRoberta: true),
    Family(types: ["deberta"], edges: ("[CLS]", "[SEP]")),
    Family(types: ["qwen2"], steps: [.split(.qwen2)], normalizers: [.nfc]),
  ]

  /// The tokenizer of a folder, or nil if it has no such files.
  static func load(_ folder: ModelFolder) throws -> (any Tokenizer)? {
    guard let json = try folder.json("vocab.json"), let lines = try folder.file("merges.txt") else {
      return nil
    }
    let type = folder.config["model_type"]?.string ?? ""
    guard let family = families.first(where: { $0.types.contains(type) }) else {
      throw TokenizerError.unsupported(
        part: "family (config.json's model_type, with vocab.json and merges.txt)", value: type,
        known: families.flatMap(\.types))
    }
    let vocabulary = try TokenizerJSON.vocabulary(members: json.object ?? [])
    let merges = try lines.bytes.split(separator: 10).map { String(decoding: $0, as: UTF8.self) }
      .filter { !$0.hasPrefix("#version") && $0 != "\r" }
      .map { try ByteLevelBPE.Merge(line: $0.hasSuffix("\r") ? String($0.dropLast()) : $0) }
    let config = try folder.json("tokenizer_config.json")
    let prefixed = config?["add_prefix_space"]?.bool ?? false
    var template = Template()
    if let (begin, end) = family.edges {
      let ids = try [begin, end].map { piece in
        guard let id = vocabulary.id(of: piece) else {
          throw TokenizerError.badVocabulary("the special token '\(piece)' is not a piece")
        }
        return id
      }
      template = Template(
        prefix: [ids[0]], suffix: [ids[1]], middle: family.isRoberta ? [ids[1]] : [],
        second: family.isRoberta ? 0 : 1)
    }
    return try ByteLevelBPE(
      vocabulary: vocabulary, merges: merges, added: added(vocabulary, config),
      normalizers: family.normalizers,
      preTokenizer: PreTokenizer((prefixed ? [.prefixSpace] : []) + family.steps), template: template,
      trimming: family.isRoberta ? OffsetTrimming(addsPrefixSpace: prefixed) : nil)
  }

  /// The special tokens that these families have, and what tokenizer_config.json adds to them.
  private static func added(_ vocabulary: Vocabulary, _ config: JSON?) throws -> [AddedToken] {
    let usual = [
      "<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>", "[CLS]", "[SEP]", "[PAD]", "[UNK]",
      "[MASK]",
    ]
    var tokens: [Int32: AddedToken] = [:]
    for piece in usual {
      guard let id = vocabulary.id(of: piece) else { continue }
      tokens[id] = AddedToken(
        piece, id: id, isSpecial: true, stripsLeft: piece == "<mask>" || piece == "[MASK]")
    }
    for member in config?["added_tokens_decoder"]?.object ?? [] {
      guard let id = Int32(member.key.string) else {
        throw TokenizerError.badVocabulary("added_tokens_decoder has the id '\(member.key)'")
      }
      tokens[id] = try TokenizerJSON.addedToken(member.value, id: id)
    }
    return tokens.values.sorted { $0.id < $1.id }
  }
}
