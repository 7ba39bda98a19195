import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLOpenCL

/// Tokens per second of a model: prefill of prompts of several lengths, and decoding after each.
struct ModelBench: Encodable {
  let device: String
  let revision: String
  let model: String
  let load_s: Double
  /// Programs that were built for this model, and the seconds that took.
  @Nullable var programs: Int?
  @Nullable var build_s: Double?
  @Nullable var device_peak_bytes: Int?
  let results: [Entry]

  struct Entry: Encodable {
    let prompt_tokens: Int
    /// The median of several runs.
    let prefill_s: Double
    let prefill_tokens_per_s: Double
    /// (slowest − fastest) / median.
    let prefill_spread: Double
    let decode_tokens: Int
    @Nullable var decode_tokens_per_s: Double?
  }

  private static let runs = 5

  init(_ path: String, on backend: any Backend, lengths: [Int]?, decode: Int, isQuiet: Bool) throws {
    let clock = ContinuousClock()
    let start = clock.now
    let loaded = try Architectures.load(ModelSource.open(path), on: backend, progress: Terminal.loading)
    load_s = clock.now.seconds(since: start)
    let (context, vocabulary) =
      switch loaded {
      case .decoder(let decoder): (decoder.contextLength, decoder.vocabularySize)
      case .encoder(let encoder): (encoder.contextLength, encoder.vocabularySize)
      }
    if let length = lengths?.first(where: { $0 > context }) {
      throw Failure("a prompt of \(length) tokens does not fit in the model's context of \(context)")
    }
    var results: [Entry] = []
    if !isQuiet {
      try Output.line("\(path) on \(backend.deviceName), loaded in \(fixed(load_s, 2)) s")
      try Output.line("  prompt  prefill tokens/s    ±%  decode tokens/s  after")
    }
    for length in lengths ?? [16, 128, 512].filter({ $0 <= context }) {
      // What tokens these are changes nothing: any ids of the vocabulary will do.
      let ids = (0..<length).map { Int32((7 * $0 + 11) % vocabulary) }
      var (times, rate): ([Double], Double?) = ([], nil)
      var decoded = 0
      for run in 0...Self.runs {
        Terminal.progress("prompt of \(length), run \(run) of \(Self.runs)")
        let begin: ContinuousClock.Instant
        switch loaded {
        case .encoder(let encoder):
          begin = clock.now
          _ = try encoder.hidden([ids])
          try backend.synchronise()
          times.append(clock.now.seconds(since: begin))
        case .decoder(let decoder):
          decoded = min(decode, context - length)
          let state = try DecoderState(decoder, capacity: length + decoded)
          begin = clock.now
          var next = try backend.integers(backend.argmax(state.prefill(ids)))[0]
          times.append(clock.now.seconds(since: begin))
          let isLast = run == Self.runs
          // The first run compiles; the last is the one whose decoding is timed.
          guard run == 0 || isLast else { continue }
          let start = clock.now
          for _ in 0..<(isLast ? decoded : min(decoded, 2)) {
            next = try backend.integers(backend.argmax(state.decode(next)))[0]
          }
          if isLast && decoded > 0 { rate = Double(decoded) / clock.now.seconds(since: start) }
        }
      }
      let sorted = times.dropFirst().sorted()
      let median = sorted[sorted.count / 2]
      let entry = Entry(
        prompt_tokens: length, prefill_s: median, prefill_tokens_per_s: Double(length) / median,
        prefill_spread: (sorted[sorted.count - 1] - sorted[0]) / median, decode_tokens: decoded,
        decode_tokens_per_s: rate)
      results.append(entry)
      Terminal.progress("")
      if !isQuiet {
        try Output.line(
          right("\(length)", 8) + right(fixed(entry.prefill_tokens_per_s, 1), 18)
            + right(fixed(entry.prefill_spread * 100, 0), 6)
            + right(rate.map { fixed($0, 1) } ?? "-", 17) + "  \(decoded) tokens")
      }
    }
    let queue = (backend as? OpenCLBackend)?.queue
    device = backend.deviceName
    revision = Revision.current
    model = path
    programs = queue?.buildStatistics.programs
    build_s = queue?.buildStatistics.seconds
    device_peak_bytes = backend.peakBytes
    self.results = results
    if !isQuiet, let queue {
      let built = queue.buildStatistics
      try Output.line("\(count(built.programs, "program")) built in \(fixed(built.seconds, 2)) s")
    }
  }
}
