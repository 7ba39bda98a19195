/// The pre-tokenisers that GGUF names in `tokenizer.ggml.pre`: how each family's models were trained to see words.
extension PreTokenizer {
  private enum Cut {
    case digits
    case known(SplitPattern)
    /// At each match of an expression, which is a word of its own.
    case at(String)
  }

  private struct Family {
    var names: [String]
    var cuts: [Cut]
    var isNFC = false
    /// A word that is a piece is taken whole, and texts begin with the token that begins texts.
    var isWhole = false
    var endsWithSeparator = false
  }

  private static let mixedCase =
    #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+SUFFIX|[^\r\n\p{L}\p{N}]?"#
    + #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*SUFFIX|NUMBER| ?[^\s\p{L}\p{N}]+[\r\n/]*|"#
    + #"\s*[\r\n]+|\s+(?!\S)|\s+"#

  private static func mixedCase(suffix: String, number: String) -> String {
    func replaced(_ text: [Unicode.Scalar], _ old: String, _ new: String) -> [Unicode.Scalar] {
      Normalizer.replace(.literal(old), by: new).normalize(text)
    }
    return String(
      replaced(
        replaced(Array(mixedCase.unicodeScalars), "SUFFIX", suffix), "NUMBER", number)[...])
  }

  private static let families = [
    Family(
      names: ["default"],
      cuts: [.at(#"[\p{P}\$\+<=>\^~\|]+"#), .known(.gpt2), .at(#"\p{N}+"#), .at("[0-9][0-9][0-9]")]),
    Family(
      names: [
        "gpt-2", "gpt2", "mpt", "olmo", "phi-2", "jais", "trillion", "granite-docling", "jina-es", "jina-de",
        "jina-v2-es", "jina-v2-de", "gigachat", "a.x-4.0", "mellum", "modern-bert",
      ], cuts: [.known(.gpt2)]),
    Family(
      names: ["jina-v1-en", "jina-v2-code", "roberta-bpe"], cuts: [.known(.gpt2)], endsWithSeparator: true),
    Family(
      names: ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
      cuts: [.digits, .known(.gpt2)]),
    Family(
      names: ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
      cuts: [.known(.llama3)], isWhole: true),
    Family(names: ["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"], cuts: [.known(.llama3)]),
    Family(names: ["qwen2"], cuts: [.known(.qwen2)], isNFC: true),
    Family(
      names: ["deepseek-r1-qwen", "kormo", "stablelm2", "hunyuan", "megrez", "grok-2"], cuts: [.known(.qwen2)]
    ),
    Family(
      names: ["falcon"],
      cuts: [.at(#"[\p{P}\$\+<=>\^~\|`]+"#), .known(.gpt2), .at("[0-9][0-9][0-9]")]),
    Family(
      names: ["deepseek-coder"],
      cuts: [
        .at(#"[\r\n]"#), .at(#"\s?\p{L}+"#), .at(#"\s?\p{P}+"#), .at("[一-龥ࠀ-一가-\u{D7FF}]+"), .digits,
      ]),
    Family(
      names: ["deepseek-llm"],
      cuts: [
        .at(#"[\r\n]"#),
        .at(
          #"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\#u{1F7D}ᾀ-ᾴ"#
            + "ᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}ῖ-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿ"
            + "ﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}"
            + "\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}]+"),
        .at(#"\s?[!-/:-~！-／：-～‘-‟\#u{3000}-。]+"#),
        .at(#"\s+$"#), .at("[一-龥ࠀ-一가-\u{D7FF}]+"), .at(#"\p{N}+"#),
      ]),
    Family(
      names: ["deepseek-v3", "hunyuan-dense"],
      cuts: [
        .at(#"\p{N}{1,3}"#), .at("[一-龥\u{3040}-ゟ゠-ヿ]+"),
        .at(
          ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"##
            + #"\s*[\r\n]+|\s+(?!\S)|\s+"#),
      ]),
    Family(names: ["bloom", "poro-chat", "gpt3-finnish"], cuts: [.at(bloom)]),
    Family(names: ["viking"], cuts: [.at(bloom), .digits]),
    Family(names: ["tekken"], cuts: [.at(mixedCase(suffix: "", number: #"\p{N}"#))], isWhole: true),
    Family(
      names: ["gpt-4o", "llama4", "minimax-m2"],
      cuts: [.at(mixedCase(suffix: "(?i:'s|'t|'re|'ve|'m|'ll|'d)?", number: #"\p{N}{1,3}"#))]),
    Family(
      names: ["seed-coder"],
      cuts: [
        .at(
          #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"#
        )
      ]),
  ]

  private static let bloom = #" ?[^(\s|.,!?…。，、।۔،)]+"#

  private static func family(_ name: String) throws -> Family {
    guard let family = families.first(where: { $0.names.contains(name) }) else {
      throw TokenizerError.unsupported(part: "pre-tokeniser", value: name, known: families.flatMap(\.names))
    }
    return family
  }

  /// The pre-tokeniser that GGUF calls `name`; throws `TokenizerError.unsupported` and lists the known names.
  public init(named name: String) throws {
    self.init(
      try Self.family(name).cuts.map { cut in
        switch cut {
        case .digits: .digits(individual: true)
        case .known(let pattern): .split(pattern)
        case .at(let expression):
          .splitAt(.expression(try ScalarExpression(expression)), .isolated, inverted: false)
        }
      })
  }

  /// The regular expressions whose matches text is cut at, one after the other; nil stands for each digit by itself.
  public static func expressions(named name: String) throws -> [String?] {
    try family(name).cuts.map { cut in
      switch cut {
      case .digits: nil
      case .known(let pattern): pattern.rawValue
      case .at(let expression): expression
      }
    }
  }

  /// The names that GGUF has for pre-tokenisers, the first where it has several.
  public static var names: [String] { families.compactMap(\.names.first) }

  /// The name that GGUF has for these steps, the first of several; nil where it has none.
  public var name: String? {
    Self.names.first { (try? PreTokenizer(named: $0))?.steps == steps }
  }

  /// What else the name says of a tokeniser: whether text is composed (NFC) first, whether a word that is a piece is taken
  /// whole and a text begins with the token that begins texts, and whether it ends with the separator.
  public static func habits(named name: String) throws -> (
    isNFC: Bool, isWhole: Bool, endsWithSeparator: Bool
  ) {
    let family = try family(name)
    return (family.isNFC, family.isWhole, family.endsWithSeparator)
  }
}
