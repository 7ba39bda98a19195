import FlashCL
import FlashCLFiles
import FlashCLTokenizers

/// Sentences to vectors, as the sentence-transformers package computes them.
///
/// Reads modules.json (pooling, normalising), 1_Pooling/config.json and sentence_bert_config.json; a plain encoder's folder is
/// pooled by mean and not normalised. tokenizer.json's own padding and truncation are ignored. A GGUF file says how it is
/// pooled; its vectors are normalised, as llama.cpp does.
public final class SentenceEncoder {
  public enum Pooling: String, Sendable { case mean, cls }

  public let model: any TextEncoder
  public let pooling: Pooling
  public let normalises: Bool
  /// Tokens after which a sentence is cut, its special tokens counted.
  public let maxTokens: Int
  private let tokenizer: any Tokenizer

  /// `pooling` takes the place of what the files say.
  public init(
    _ path: String, pooling wanted: Pooling? = nil, on backend: any Backend,
    progress: ((Double) -> Void)? = nil
  ) throws {
    let source = try ModelSource.open(path)
    guard case .encoder(let model) = try Architectures.load(source, on: backend, progress: progress)
    else { throw ModelError("\(path): sentences need an encoder, such as all-MiniLM-L6-v2") }
    self.model = model
    tokenizer = try TokenizerFiles.load(source)
    let folder: ModelFolder
    switch source {
    case .gguf(let file):
      let name = file["general.architecture"]?.string ?? ""
      let kind = file["\(name).pooling_type"]?.int ?? 1
      guard let stored = [1: Pooling.mean, 2: .cls][kind] else {
        throw ModelError("\(path): pooling_type \(kind) is not supported; known: 1 (mean), 2 (cls)")
      }
      (pooling, normalises, maxTokens) = (wanted ?? stored, true, model.contextLength)
      return
    case .folder(let files): folder = files
    }
    var (pooling, normalises, path) = (Pooling.mean, false, "1_Pooling")
    for module in try folder.json("modules.json")?.array ?? [] {
      let type = module["type"]?.string ?? ""
      switch type.split(separator: ".").last {
      case "Transformer": break
      case "Pooling": path = module["path"]?.string ?? path
      case "Normalize": normalises = true
      default: throw ModelError("\(folder.path)/modules.json: the module '\(type)' is not supported")
      }
    }
    if wanted == nil, let config = try folder.json("\(path)/config.json") {
      let modes = (config.object ?? []).filter {
        $0.key.string.hasPrefix("pooling_mode_") && $0.value.bool == true
      }
      switch modes.map(\.key.string) {
      case ["pooling_mode_mean_tokens"]: pooling = .mean
      case ["pooling_mode_cls_token"]: pooling = .cls
      case let other:
        throw ModelError(
          "\(folder.path)/\(path)/config.json: pooling by \(other) is not supported; known: mean, cls")
      }
    }
    (self.pooling, self.normalises) = (wanted ?? pooling, normalises)
    let limit = try folder.json("sentence_bert_config.json")?["max_seq_length"]?.int ?? model.contextLength
    maxTokens = min(max(limit, 2), model.contextLength)
  }

  /// A sentence's tokens, and whether they are more than the model takes and were cut.
  public func tokens(_ sentence: some Collection<UInt8>) throws -> (ids: [Int32], isCut: Bool) {
    let ids = try tokenizer.encode(Array(sentence), special: true)
    // The end mark stays, as if the text itself were shorter.
    return ids.count <= maxTokens ? (ids, false) : (Array(ids[..<(maxTokens - 1)]) + ids.suffix(1), true)
  }

  /// One vector of `model.width` numbers for each sentence; the empty sentence has one too.
  public func encode(_ sentences: [String]) throws -> [[Float]] {
    try encode(sentences.map { try tokens($0.utf8).ids })
  }

  /// One vector for each sequence of tokens.
  public func encode(_ sentences: [[Int32]]) throws -> [[Float]] {
    guard !sentences.isEmpty else { return [] }
    let batch = TokenBatch(sentences)
    let hidden = try model.backend.floats(model.hidden(batch))
    return batch.ranges.map { pool(hidden[$0.lowerBound * model.width..<$0.upperBound * model.width]) }
  }

  private func pool(_ hidden: ArraySlice<Float>) -> [Float] {
    let width = model.width
    var vector = [Double](repeating: 0, count: width)
    let rows = pooling == .mean ? hidden.count / width : 1
    for (index, value) in hidden.prefix(rows * width).enumerated() { vector[index % width] += Double(value) }
    for index in vector.indices { vector[index] /= Double(rows) }
    if normalises {
      // 1e-12 keeps the zero vector, as torch's normalize does.
      let length = max(vector.reduce(0) { $0 + $1 * $1 }.squareRoot(), 1e-12)
      for index in vector.indices { vector[index] /= length }
    }
    return vector.map { Float($0) }
  }
}
