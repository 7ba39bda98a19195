import FlashCL
import FlashCLModels
import FlashCLOpenCL

/// Times one row of a model's benchmark.
enum ModelTimer {
  /// Of encoding and prefill, after one that compiles.
  static let runs = 5
  /// Of searches, greedy and with beams in turn, so that what else the machine does meets both.
  static let rounds = 3
  /// Steps of decoding that are not timed: the first compile.
  private static let warmUp = 2

  private static let clock = ContinuousClock()

  /// What tokens these are changes nothing: any ids of the vocabulary will do.
  private static func ids(_ lengths: [Int], of vocabulary: Int) -> [[Int32]] {
    lengths.map { (0..<$0).map { Int32((7 * $0 + 11) % vocabulary) } }
  }

  private static func times(_ what: String, _ body: () throws -> Void) throws -> [Double] {
    try (0...runs).map { run in
      Terminal.progress("\(what), run \(run) of \(runs)")
      let start = clock.now
      try body()
      return clock.now.seconds(since: start)
    }
  }

  private static func name(_ lengths: [Int]) -> String {
    let (least, most) = (lengths.min() ?? 0, lengths.max() ?? 0)
    return "\(count(lengths.count, "sequence")) of \(least == most ? "" : "\(least) to ")\(most)"
  }

  /// Hidden states of sequences of these lengths.
  static func encode(_ encoder: any TextEncoder, _ lengths: [Int]) throws -> ModelBench.Entry {
    let batch = TokenBatch(ids(lengths, of: encoder.vocabularySize))
    let times = try times(name(lengths)) {
      _ = try encoder.hidden(batch)
      try encoder.backend.synchronise()
    }
    return .init(lengths, times: times, decoded: [])
  }

  /// Vectors of texts, `batch` at a time, from their bytes on; `lengths` are their numbers of tokens.
  static func embed(_ encoder: SentenceEncoder, _ texts: [[UInt8]], _ batch: Int, _ lengths: [Int]) throws
    -> ModelBench.Entry
  {
    let times = try times(name(lengths)) {
      for first in stride(from: 0, to: texts.count, by: batch) {
        let tokens = try texts[first..<min(first + batch, texts.count)].map { try encoder.tokens($0).ids }
        _ = try encoder.encode(tokens)
      }
    }
    return .init(lengths, batch: min(batch, texts.count), times: times, decoded: [])
  }

  /// Prefills prompts of these lengths `prefillRuns` times after one that compiles, and decodes after the last.
  static func decode(
    _ decoder: any Decoder, _ lengths: [Int], tokens: Int, cache: ElementType, prefillRuns: Int
  ) throws -> ModelBench.Entry {
    let backend = decoder.backend
    let prompts = ids(lengths, of: decoder.vocabularySize)
    let longest = lengths.max() ?? 0
    let untimed = min(warmUp, decoder.contextLength - longest - tokens)
    let capacity = longest + untimed + tokens
    var (times, decoded): ([Double], [Double]) = ([], [])
    let device = backend as? OpenCLBackend
    var launches, bytes, copy: Double?
    for run in 0...prefillRuns {
      Terminal.progress("\(name(lengths)), run \(run) of \(prefillRuns)")
      let state = try DecoderState(decoder, capacity: capacity, sequences: lengths.count, cacheType: cache)
      let begin = clock.now
      var next = try state.predictions(after: prompts) { try backend.integers($0.greatest())[0] }
      times.append(clock.now.seconds(since: begin))
      // The first run compiles; the last is the one whose decoding is timed, after a few steps that may compile.
      let isLast = run == prefillRuns
      var before: Int?
      for step in 0..<(isLast ? untimed + tokens : 0) {
        if step == untimed { before = backend.launches }
        // Later steps are repetitions, which run no operations.
        if step == 0, untimed > 0 { device?.traffic = 0 }
        let start = clock.now
        next = try backend.integers(state.prediction(after: next).greatest())
        if step >= untimed { decoded.append(clock.now.seconds(since: start)) }
        bytes = device?.traffic ?? bytes
        device?.traffic = nil
      }
      if isLast, tokens > 0, let before, let after = backend.launches {
        launches = Double(after - before) / Double(tokens)
      }
    }
    if bytes != nil, !decoded.isEmpty { copy = try device?.copyRate() }
    return .init(
      lengths, cache: cache, times: times, decoded: decoded, launches: launches, bytes: bytes, copy: copy)
  }

  /// Encodes sources of these lengths with what every decoder layer makes of them, and searches as `translate` does, greedily
  /// and with beams; nothing ends before `steps` are timed.
  static func search(_ model: any EncoderDecoder, _ lengths: [Int], steps: Int, beams: Int) throws
    -> ModelBench.Entry
  {
    let sources = TokenBatch(ids(lengths, of: model.sourceVocabularySize))
    let times = try times(name(lengths)) {
      _ = try model.crossKeys(model.encode(sources, observe: nil))
      try model.backend.synchronise()
    }
    guard steps > 0 else { return .init(lengths, times: times, decoded: []) }
    let widths = beams > 1 ? [1, beams] : [1]
    var found = widths.map { _ in [[Double]]() }
    for round in 0...rounds {
      Terminal.progress("\(name(lengths)), searched \(round) of \(rounds) times")
      for (place, width) in widths.enumerated() {
        var options = BeamOptions()
        options.width = width
        // The first round compiles. A search's first step has the encoder in it, and one beam of each source.
        options.maxTokens = 1 + (round == 0 ? min(warmUp, steps) : steps)
        var taken: [Double] = []
        var last = clock.now
        _ = try model.generate(sources, options) { _ in
          let now = clock.now
          taken.append(now.seconds(since: last))
          last = now
        }
        if round > 0 { found[place].append(Array(taken.dropFirst())) }
      }
    }
    return .init(lengths, times: times, greedy: found[0], beams: found[found.count - 1], width: beams)
  }
}
