import FlashCL
import FlashCLFiles
import FlashCLTokenizers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension EncoderDecoder {
  /// The best sequences for each source, which are encoded once and searched side by side; see `BeamOptions`.
  ///
  /// A source's results do not depend on the others. `progress` is told how many tokens the longest has.
  public func generate(
    _ sources: TokenBatch, _ options: BeamOptions, progress: ((Int) -> Void)? = nil
  ) throws -> [[Hypothesis]] {
    var options = options
    options.maxTokens = min(options.maxTokens, targetLength)
    try options.validate()
    let width = options.width
    let state = try EncoderDecoderState(self, sources, beams: width, capacity: options.maxTokens)
    var searches = sources.sequences.map { _ in BeamSearch(options) }
    var count = 0
    while searches.contains(where: { !$0.isDone }) {
      var (ids, banned): ([[Int32]], [Set<Int32>]) = ([], [])
      for search in searches {
        let beams = search.isDone ? [] : search.running
        ids += (0..<width).map { $0 < beams.count ? beams[$0].tokens.suffix(1) : [] }
        banned += beams.indices.map(search.banned)
      }
      var rest = try backend.candidates(state.decode(ids), options.kept, banned: banned)[...]
      var parents: [Int?] = []
      for index in searches.indices {
        var own: [Int?] = []
        if !searches[index].isDone {
          let beams = searches[index].running.count
          own = searches[index].advance(Array(rest.prefix(beams))).map { index * width + $0 }
          rest = rest.dropFirst(beams)
          if searches[index].isDone {
            guard !searches[index].finished.isEmpty else {
              throw ModelError("the model's scores are not finite")
            }
            own = []
          }
        }
        parents += own + [Int?](repeating: nil, count: width - own.count)
      }
      try state.reorder(parents)
      count += 1
      progress?(count)
    }
    return searches.map(\.results)
  }
}

extension EncoderDecoder {
  /// `options.results` sequences for each source, each token drawn as `sampling` says; what is forced or banned is as in a search.
  ///
  /// A draw depends on the seed, its source's place, counted from `first`, and its own number alone. Scores are those of
  /// `Hypothesis`, by the model's own probabilities. `progress` is told how many tokens the longest has.
  public func sample(
    _ sources: TokenBatch, _ options: BeamOptions, _ sampling: SamplingOptions, first: Int = 0,
    progress: ((Int) -> Void)? = nil
  ) throws -> [[Hypothesis]] {
    var single = options
    let draws = options.results
    guard draws > 0 else { throw ModelError("at least 1 result must be asked for, not \(draws)") }
    (single.width, single.results, single.maxTokens) = (1, 1, min(options.maxTokens, targetLength))
    try single.validate()
    let state = try EncoderDecoderState(self, sources, beams: draws, capacity: single.maxTokens)
    // A sequence is a search of one beam that is given one candidate.
    var searches = (0..<sources.sequences.count * draws).map { _ in BeamSearch(single) }
    var samplers = try searches.indices.map { index in
      var own = sampling
      own.seed &+= UInt64(first * draws + index)
      return try Sampler(own)
    }
    var count = 0
    while searches.contains(where: { !$0.isDone }) {
      let logits = try state.decode(searches.map { $0.isDone ? [] : $0.running[0].tokens.suffix(1) })
      let (scores, vocabulary) = (try backend.floats(logits), logits.columns)
      for (row, index) in searches.indices.filter({ !searches[$0].isDone }).enumerated() {
        let own = Array(scores[row * vocabulary..<(row + 1) * vocabulary])
        let id = try samplers[index].pick(
          own, history: searches[index].running[0].tokens, banned: searches[index].banned(0))
        let greatest = Double(own.max() ?? 0)
        let total = own.reduce(0.0) { $0 + exp(Double($1) - greatest) }
        _ = searches[index].advance([[Candidate(id, Float(Double(own[Int(id)]) - greatest - log(total)))]])
        guard !searches[index].isDone || !searches[index].finished.isEmpty else {
          throw ModelError("the model's scores are not finite")
        }
      }
      count += 1
      progress?(count)
    }
    return sources.sequences.indices.map { source in
      (0..<draws).flatMap { searches[source * draws + $0].results }
    }
  }
}

extension Backend {
  /// The `count` likeliest tokens of each row of `logits` `[rows, vocabulary]` that are not banned there, likeliest first.
  func candidates(_ logits: Tensor, _ count: Int, banned: [Set<Int32>]) throws -> [[Candidate]] {
    // Where so many are banned that no list can be that long, the rest of a row is as good as not there.
    let wanted = min(count + (banned.map(\.count).max() ?? 0), logits.columns, TopK.limit)
    let (values, indices) = try topK(logits, wanted)
    // The likeliest token's probability is at least 1 / vocabulary: log p of the others follows from it without loss.
    let (likeliest, _) = try topK(softmax(logits), 1)
    let (scores, ids, top) = (try floats(values), try integers(indices), try floats(likeliest))
    return banned.indices.map { row in
      let first = row * wanted
      let offset = log(top[row]) - scores[first]
      return (first..<first + wanted).lazy.filter { !banned[row].contains(ids[$0]) }.prefix(count)
        .map { Candidate(ids[$0], scores[$0] + offset) }
    }
  }
}

/// A model that turns one text into another: an encoder–decoder, its tokenizers, and how its files would have beams searched.
public final class Translator {
  public let model: any EncoderDecoder
  /// From the files.
  public let options: BeamOptions
  private let source: ModelSource
  /// Tokenizers of sources and of results, read when first needed.
  private var reader, writer: (any Tokenizer)?

  /// Loads a folder or a GGUF file; `progress` is told the share of the layers that is loaded.
  public init(_ path: String, on backend: any Backend, progress: ((Double) -> Void)? = nil) throws {
    source = try ModelSource.open(path)
    guard case .encoderDecoder(let model) = try Architectures.load(source, on: backend, progress: progress)
    else {
      throw ModelError("\(path): translating needs an encoder–decoder, such as MarianMT or T5")
    }
    self.model = model
    options = try BeamOptions(source)
    for id in [options.start, options.forcedFirst].compactMap({ $0 }) + options.forcedLast
    where !(0..<model.vocabularySize).contains(Int(id)) {
      throw ModelError(
        "\(path): the token \(id) is outside the model's vocabulary of \(model.vocabularySize)")
    }
  }

  /// The ids of a source text, with the marks that the model's tokenizer adds.
  public func tokens(_ text: [UInt8]) throws -> [Int32] {
    let tokenizer = try reader ?? TokenizerFiles.load(source)
    reader = tokenizer
    return try tokenizer.encode(text, special: true)
  }

  /// The text of generated ids, without special tokens.
  public func text(_ tokens: [Int32]) throws -> String {
    let tokenizer = try writer ?? TokenizerFiles.loadTarget(source)
    writer = tokenizer
    return try tokenizer.decode(tokens)
  }

  /// The source if it fits in the model's positions; else cut to them, its last token, which may be an end mark, kept, or refused
  /// where `truncates` is false.
  public func fitted(_ tokens: [Int32], truncates: Bool) throws -> [Int32] {
    if tokens.count <= model.sourceLength { return tokens }
    guard truncates else {
      throw ModelError(
        "\(tokens.count) source tokens do not fit in the model's \(model.sourceLength) positions")
    }
    return Array(tokens[..<(model.sourceLength - 1)]) + tokens.suffix(1)
  }
}
