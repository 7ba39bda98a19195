import FlashCL
import FlashCLFiles

/// How beams are searched; the meaning of each number is that of `transformers.generate` with `num_beams`.
public struct BeamOptions: Sendable {
  public enum EarlyStopping: String, Sendable {
    /// Stops once no running beam, as long as it is now, scores above the worst result.
    case no
    /// Stops once there are as many results as beams.
    case yes
    /// As `no`, but beams are given the greatest length where length is rewarded.
    case never
  }

  /// Beams of each source; 1 is greedy.
  public var width = 1
  /// Results of each source, the best first; at most `width`.
  public var results = 1
  /// Scores are sums of log-probabilities divided by length^penalty: above 0 favours long results.
  public var lengthPenalty: Float = 1
  public var earlyStopping = EarlyStopping.no
  /// No run of so many tokens comes twice in a result; 0 allows all.
  public var noRepeatNgram = 0
  /// The most tokens to generate, the one that ends a text included. Where a model's files name no limit this is it: the 20 that
  /// `transformers` then takes would cut most sentences.
  public var maxTokens = 256
  /// Tokens before one may end a text, the first of the decoder included.
  public var minLength = 0
  /// What the decoder is fed first.
  public var start: Int32 = 0
  /// Tokens that end a text.
  public var ends: Set<Int32> = []
  /// The token that must come first, such as mBART's language.
  public var forcedFirst: Int32?
  /// Tokens one of which must come where `maxTokens` are reached.
  public var forcedLast: [Int32] = []
  /// Runs of tokens that must not come.
  public var banned: [[Int32]] = []

  public init() {}

  /// What a model's files ask for: of GGUF the decoder's first token and the one that ends a text.
  public init(_ source: ModelSource) throws {
    switch source {
    case .folder(let folder): try self.init(folder)
    case .gguf(let file):
      let name = "\(file["general.architecture"]?.string ?? "").decoder_start_token_id"
      guard let start = file[name]?.int.flatMap({ Int32(exactly: $0) }) else {
        throw ModelError("\(file.path): the metadata has no \(name)")
      }
      self.init()
      self.start = start
      ends = try SpecialTokens(source).ends
    }
  }

  /// What a model's generation_config.json, else its config.json, asks for; throws where they name no first token.
  public init(_ folder: ModelFolder) throws {
    let configs = [try folder.json("generation_config.json"), folder.config]
    func value(_ name: String) -> JSON? {
      configs.lazy.compactMap { $0?[name] }.first { !$0.isNull }
    }
    func ids(_ json: JSON?) -> [Int32] {
      (json?.array ?? json.map { [$0] } ?? []).compactMap { $0.int.flatMap { Int32(exactly: $0) } }
    }
    guard let start = ids(value("decoder_start_token_id") ?? value("bos_token_id")).first else {
      throw ModelError("\(folder.path): the files have no decoder_start_token_id")
    }
    self.start = start
    ends = Set(ids(value("eos_token_id")))
    forcedFirst = ids(value("forced_bos_token_id")).first
    forcedLast = ids(value("forced_eos_token_id"))
    banned = (value("bad_words_ids")?.array ?? []).map { ids($0) }
    // The first counts what is generated, the second the decoder's first token too.
    if let count = value("max_new_tokens")?.int ?? value("max_length")?.int.map({ $0 - 1 }) {
      maxTokens = max(1, count)
    }
    minLength = value("min_length")?.int ?? 0
    lengthPenalty = value("length_penalty")?.double.map { Float($0) } ?? 1
    noRepeatNgram = value("no_repeat_ngram_size")?.int ?? 0
    earlyStopping =
      switch value("early_stopping") {
      case let value? where value.bool == true: .yes
      case let value? where value.string == "never": .never
      default: .no
      }
  }

  /// Candidates that are kept in each step: enough to go on where all of the best end a text.
  var kept: Int { max(2, 1 + ends.count) * width }

  /// Throws unless every number is in its range.
  public func validate() throws {
    guard width >= 1, kept <= TopK.limit else {
      throw ModelError("a search has 1 to \(TopK.limit / max(2, 1 + ends.count)) beams, not \(width)")
    }
    guard (1...width).contains(results) else {
      throw ModelError("\(results) results are asked for, where there are \(width) beams")
    }
    guard maxTokens > 0 else { throw ModelError("at least 1 token must be asked for, not \(maxTokens)") }
    guard noRepeatNgram >= 0 else {
      throw ModelError("no run of \(noRepeatNgram) tokens can be kept from repeating; 0 allows all")
    }
    guard lengthPenalty.isFinite else { throw ModelError("the length penalty is \(lengthPenalty)") }
  }
}
