import FlashCL
import FlashCLFiles
import FlashCLTokenizers

/// A model that reads text: an encoder, its tokenizer, and the question that its head answers.
///
///     let model = try EncoderModel("bert-base-uncased", for: .maskedToken, on: backend)
///     for guess in try model.fillMask("Paris is the [MASK] of France.", top: 5)[0] { print(guess.piece, guess.score) }
///
/// A model belongs to one task at a time.
public final class EncoderModel {
  public let encoder: any TextEncoder
  public let tokenizer: any Tokenizer
  /// The token that stands for a word to be guessed; nil where the files name none.
  public let mask: Int32?
  /// Cuts longer texts instead of refusing them.
  public var truncates = false
  let path: String
  let folder: ModelFolder

  /// Loads a folder; throws where its head answers another question than `task`.
  public init(
    _ path: String, for task: EncoderTask, on backend: any Backend, progress: ((Double) -> Void)? = nil
  ) throws {
    self.path = path
    let source = try ModelSource.open(path)
    guard case .folder(let folder) = source,
      case .encoder(let encoder) = try Architectures.load(source, on: backend, progress: progress)
    else { throw ModelError("\(path): an encoder's folder is needed, such as bert-base-uncased") }
    guard encoder.task == task else {
      let head = encoder.task.map { "a head for \($0.rawValue)" } ?? "no head"
      throw ModelError("\(path): the model has \(head), and one for \(task.rawValue) is needed")
    }
    self.encoder = encoder
    self.folder = folder
    tokenizer = try TokenizerFiles.load(source)
    mask = try Self.mask(folder, tokenizer)
  }

  /// tokenizer_config.json or special_tokens_map.json name it; else the spelling of BERT's or RoBERTa's.
  private static func mask(_ folder: ModelFolder, _ tokenizer: any Tokenizer) throws -> Int32? {
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
      let token = try folder.json(name)?["mask_token"]
      if let piece = token?.string ?? token?["content"]?.string, let id = tokenizer.id(ofPiece: piece) {
        return id
      }
    }
    return ["[MASK]", "<mask>"].lazy.compactMap { tokenizer.id(ofPiece: $0) }.first
  }

  /// The tokens of a text, or of a pair, with the model's own around them; too many are refused, or cut at the end of
  /// the longer text.
  public func encode(_ text: String, pair: String? = nil) throws -> Encoding {
    let encoding = try tokenizer.encode(text, pair: pair, special: true)
    let limit = encoder.contextLength
    guard encoding.count > limit else { return encoding }
    guard truncates else {
      throw ModelError(
        "the text has \(encoding.count) tokens, the model takes \(limit): shorten it, or let it be cut")
    }
    var first = try tokenizer.tokens(of: Array(text.utf8), special: true)
    var second = try pair.map { try tokenizer.tokens(of: Array($0.utf8), special: true) }
    let room = max(0, limit - tokenizer.template.addition(toPair: second != nil))
    let longest = max(first.count, second?.count ?? 0)
    // Both are cut to one length, the greatest that fits; what the shorter one leaves belongs to the other.
    let share = (0...longest).last { min(first.count, $0) + min(second?.count ?? 0, $0) <= room } ?? 0
    first = first[0..<min(first.count, share)]
    second = second.map { $0[0..<min($0.count, share)] }
    return tokenizer.template.apply(to: first, second)
  }

  /// The head's scores of each text, as it makes them.
  func scores(_ encodings: [Encoding]) throws -> [[Float]] {
    guard !encodings.isEmpty else { return [] }
    // Segments that the model does not tell apart are left to it.
    let kinds = encodings.contains { $0.segments.contains { $0 > 0 } } && encoder.segmentCount > 1
    let batch = TokenBatch(encodings.map(\.ids), segments: kinds ? encodings.map(\.segments) : nil)
    let scores = try encoder.scores(encoder.hidden(batch), of: batch)
    let (values, columns) = (try encoder.backend.floats(scores), scores.columns)
    guard encoder.task != .sequence else {
      return encodings.indices.map { Array(values[$0 * columns..<($0 + 1) * columns]) }
    }
    return batch.ranges.map { Array(values[$0.lowerBound * columns..<$0.upperBound * columns]) }
  }
}
