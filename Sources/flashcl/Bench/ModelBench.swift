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
  /// The time that was given, where rows did not run for it.
  @Nullable var stopped_after_s: Double?
  /// How many of them.
  let not_run: Int
  let results: [Entry]
  private let stop: Stop?

  private enum CodingKeys: String, CodingKey {
    case device, revision, model, load_s, programs, build_s, device_peak_bytes, stopped_after_s, not_run
    case results
  }

  struct Entry: Encodable {
    /// Of each sequence; in its cache when decoding begins.
    let prompt_tokens: Int
    /// Sequences side by side.
    let batch: Int
    @Nullable var cache_type: String?
    /// The median of several runs; nil where decoding alone is timed.
    @Nullable var prefill_s: Double?
    /// Of all sequences together.
    @Nullable var prefill_tokens_per_s: Double?
    /// (slowest − fastest) / median.
    @Nullable var prefill_spread: Double?
    /// Of each sequence.
    let decode_tokens: Int
    /// Of all sequences together.
    @Nullable var decode_tokens_per_s: Double?
    /// (p90 − p10) / median of single steps.
    @Nullable var decode_spread: Double?
  }

  private static let runs = 5
  /// Steps of decoding that are not timed: the first compile.
  private static let warmUp = 2

  /// A row that is about to be timed.
  private typealias Row = (length: Int, batch: Int, cache: ElementType?, prefillRuns: Int, tokens: Int)

  init(
    _ options: ModelBenchOptions, on backend: any Backend, _ deadline: Deadline, isQuiet: Bool
  ) throws {
    let clock = ContinuousClock()
    let start = clock.now
    let loaded: Architectures.Model
    if let shape = options.modelShape {
      model = shape.description
      loaded = try Architectures.random(shape, on: backend, progress: Terminal.loading)
    } else {
      model = options.model ?? ""
      loaded = try Architectures.load(
        ModelSource.open(options.model ?? ""), on: backend, progress: Terminal.loading)
    }
    load_s = clock.now.seconds(since: start)
    let context =
      switch loaded {
      case .decoder(let decoder): decoder.contextLength
      case .encoder(let encoder): encoder.contextLength
      case .encoderDecoder: throw Self.untimed
      }
    if let length = options.promptLengths?.first(where: { $0 > context }) {
      throw Failure("a prompt of \(length) tokens does not fit in the model's context of \(context)")
    }
    if let length = options.cacheLengths?.first(where: { $0 >= context }) {
      throw Failure("after \(length) tokens none fits in the model's context of \(context)")
    }
    if case .encoder = loaded, options.cacheTypes != nil || options.cacheLengths != nil {
      throw Failure("--cache-types and --cache-lengths: an encoder has no cache")
    }
    if !isQuiet {
      try Output.line("\(model) on \(backend.deviceName), loaded in \(fixed(load_s, 2)) s")
      try Output.line("  prompt  batch  cache  prefill tokens/s    ±%  decode tokens/s    ±%  after")
    }
    let prompts =
      options.promptLengths ?? (options.cacheLengths == nil ? [16, 128, 512].filter { $0 <= context } : [])
    let points = prompts.map { ($0, Self.runs) } + (options.cacheLengths ?? []).map { ($0, 0) }
    let rows = points.flatMap { length, runs in
      (options.batch ?? [1]).flatMap { batch -> [Row] in
        guard case .decoder = loaded else { return [(length, batch, nil, runs, 0)] }
        let tokens = min(options.decode ?? 128, context - length)
        return (options.cacheTypes ?? [.f32]).map { (length, batch, $0, runs, tokens) }
      }
    }
    var results: [Entry] = []
    for row in rows {
      if deadline.isOver(needed: Self.seconds(row, after: results)) { break }
      let entry =
        switch loaded {
        case .encoder(let encoder): try Self.encode(encoder, row.length, row.batch)
        case .decoder(let decoder):
          try Self.decode(
            decoder, row.length, row.batch, tokens: row.tokens, cache: row.cache ?? .f32,
            prefillRuns: row.prefillRuns)
        case .encoderDecoder: throw Self.untimed
        }
      results.append(entry)
      if !isQuiet { try Output.line(entry.text) }
    }
    let queue = (backend as? OpenCLBackend)?.queue
    device = backend.deviceName
    revision = Revision.current
    programs = queue?.buildStatistics.programs
    build_s = queue?.buildStatistics.seconds
    device_peak_bytes = backend.peakBytes
    self.results = results
    stop = Stop(deadline, ran: results.count, of: rows.count)
    (stopped_after_s, not_run) = (stop?.seconds, stop?.notRun ?? 0)
    if !isQuiet, let queue {
      let built = queue.buildStatistics
      try Output.line("\(count(built.programs, "program")) built in \(fixed(built.seconds, 2)) s")
    }
    if !isQuiet, let stop { try Output.line(stop.text("row")) }
  }

  /// What a row needs at the rates of those before it, for a row is timed whole; 0 where there are none.
  private static func seconds(_ row: Row, after results: [Entry]) -> Double {
    func seconds(_ tokens: Int, _ rate: KeyPath<Entry, Double?>) -> Double {
      results.last { $0[keyPath: rate] != nil }?[keyPath: rate].map { Double(row.batch * tokens) / $0 } ?? 0
    }
    return seconds((row.prefillRuns + 1) * row.length, \.prefill_tokens_per_s)
      + seconds(row.tokens, \.decode_tokens_per_s)
  }

  /// What tokens these are changes nothing: any ids of the vocabulary will do.
  private static func ids(_ length: Int, of vocabulary: Int) -> [Int32] {
    (0..<length).map { Int32((7 * $0 + 11) % vocabulary) }
  }

  private static let untimed = Failure("encoder–decoders are not timed: give a decoder or an encoder")

  private static func encode(_ encoder: any TextEncoder, _ length: Int, _ batch: Int) throws -> Entry {
    let clock = ContinuousClock()
    let ids = [[Int32]](repeating: ids(length, of: encoder.vocabularySize), count: batch)
    var times: [Double] = []
    for run in 0...runs {
      Terminal.progress("\(count(batch, "sequence")) of \(length), run \(run) of \(runs)")
      let start = clock.now
      _ = try encoder.hidden(TokenBatch(ids))
      try encoder.backend.synchronise()
      times.append(clock.now.seconds(since: start))
    }
    Terminal.progress("")
    return Entry(length, batch, nil, times: times, decoded: [])
  }

  /// Prefills `batch` prompts `prefillRuns` times after one that compiles, and decodes after the last.
  private static func decode(
    _ decoder: any Decoder, _ length: Int, _ batch: Int, tokens: Int, cache: ElementType, prefillRuns: Int
  ) throws -> Entry {
    let (clock, backend) = (ContinuousClock(), decoder.backend)
    let prompts = [[Int32]](repeating: ids(length, of: decoder.vocabularySize), count: batch)
    let untimed = min(warmUp, decoder.contextLength - length - tokens)
    let capacity = length + untimed + tokens
    var (times, decoded): ([Double], [Double]) = ([], [])
    for run in 0...prefillRuns {
      Terminal.progress(
        "\(batch > 1 ? "\(batch) prompts" : "prompt") of \(length), run \(run) of \(prefillRuns)")
      let state = try DecoderState(decoder, capacity: capacity, sequences: batch, cacheType: cache)
      let begin = clock.now
      var next = try state.prefill(prompts).map { try backend.integers(backend.argmax($0))[0] }
      times.append(clock.now.seconds(since: begin))
      // The first run compiles; the last is the one whose decoding is timed, after a few steps that may compile.
      let isLast = run == prefillRuns
      for step in 0..<(isLast ? untimed + tokens : 0) {
        let start = clock.now
        next = try backend.integers(backend.argmax(state.decode(next)))
        if step >= untimed { decoded.append(clock.now.seconds(since: start)) }
      }
    }
    Terminal.progress("")
    return Entry(length, batch, cache, times: times, decoded: decoded)
  }
}

extension ModelBench.Entry {
  /// `times` of prefill, the first of which compiled; `decoded` of each step.
  fileprivate init(_ length: Int, _ batch: Int, _ cache: ElementType?, times: [Double], decoded: [Double]) {
    let (sorted, steps) = (times.dropFirst().sorted(), decoded.sorted())
    prompt_tokens = length
    self.batch = batch
    cache_type = cache?.rawValue
    if !sorted.isEmpty {
      let median = sorted[sorted.count / 2]
      prefill_s = median
      prefill_tokens_per_s = Double(batch * length) / median
      prefill_spread = (sorted[sorted.count - 1] - sorted[0]) / median
    }
    decode_tokens = steps.count
    if !steps.isEmpty {
      decode_tokens_per_s = Double(batch * steps.count) / steps.reduce(0, +)
      decode_spread = (steps[steps.count * 9 / 10] - steps[steps.count / 10]) / steps[steps.count / 2]
    }
  }

  fileprivate var text: String {
    func number(_ value: Double?, _ width: Int, _ digits: Int) -> String {
      right(value.map { fixed($0, digits) } ?? "-", width)
    }
    return right("\(prompt_tokens)", 8) + right("\(batch)", 7) + right(cache_type ?? "-", 7)
      + number(prefill_tokens_per_s, 18, 1) + number(prefill_spread.map { 100 * $0 }, 6, 0)
      + number(decode_tokens_per_s, 17, 1) + number(decode_spread.map { 100 * $0 }, 6, 0)
      + "  \(decode_tokens) tokens"
  }
}

// MARK: - Other outputs

extension ModelBench {
  var csv: String {
    func text(_ value: Double?) -> String { value.map { "\($0)" } ?? "" }
    let names = [
      "model", "prompt_tokens", "batch", "cache_type", "prefill_s", "prefill_tokens_per_s", "prefill_spread",
      "decode_tokens", "decode_tokens_per_s", "decode_spread",
    ]
    return CSV.text(
      [names]
        + results.map { entry in
          [
            model, "\(entry.prompt_tokens)", "\(entry.batch)", entry.cache_type ?? "", text(entry.prefill_s),
            text(entry.prefill_tokens_per_s), text(entry.prefill_spread), "\(entry.decode_tokens)",
            text(entry.decode_tokens_per_s), text(entry.decode_spread),
          ]
        })
  }

  /// Tokens per second over the prompt's length: a line for prefill and one for decode of each kind of cache or batch.
  var plot: Plot {
    var series: [Plot.Series] = []
    func add(_ name: String, _ point: Plot.Point) {
      if let place = series.firstIndex(where: { $0.name == name }) {
        series[place].points.append(point)
      } else {
        series.append(Plot.Series(name: name, points: [point]))
      }
    }
    for entry in results {
      let kind =
        (entry.batch > 1 ? ", batch \(entry.batch)" : "")
        + (entry.cache_type.map { $0 == "f32" ? "" : ", cache \($0)" } ?? "")
      let x = Double(entry.prompt_tokens)
      if let rate = entry.prefill_tokens_per_s {
        add("prefill\(kind)", .init(x: x, y: rate, spread: entry.prefill_spread ?? 0))
      }
      if let rate = entry.decode_tokens_per_s {
        add("decode\(kind)", .init(x: x, y: rate, spread: entry.decode_spread ?? 0))
      }
    }
    let name = model.split(separator: "/").last.map(String.init) ?? model
    return Plot(
      title: "\(name): prefill, and decode after it", subtitle: device, x: "tokens of each prompt",
      y: "tokens/s",
      panels: [Plot.Panel(series: series)],
      notes: ["Bars: the spread of several runs, or of single tokens."] + Stop.notes(stop, "row"))
  }
}
