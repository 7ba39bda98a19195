import ArgumentParser
import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLOpenCL

/// Which model `bench` times, and over what.
struct ModelBenchOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: "A model to time instead: a .gguf file, or a folder.")
  var model: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      A model of random weights in a real one's shape to time instead, as NAME or NAME:TYPE \
      (\(ModelShape.names.joined(separator: ", "))).
      """, valueName: "name"),
    transform: { text in
      do { return try ModelShape(text) } catch { throw ValidationError("\(error)") }
    })
  var modelShape: ModelShape?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens of each prompt (default: 16,128,512).", valueName: "list"),
    transform: { try Self.counts($0, "tokens") })
  var promptLengths: [Int]?
  @Option(parsing: .unconditional, help: "Tokens to decode after each prompt (default: 128).")
  var decode: Int?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Sequences side by side, for encoders (default: 1).", valueName: "list"),
    transform: { try Self.counts($0, "sequences") })
  var batch: [Int]?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Types of the cache: f32, f16, bf16, q8_0 (default: f32).", valueName: "list"),
    transform: { text in
      try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let type = ElementType(rawValue: String(part)), [.f32, .f16, .bf16, .q8_0].contains(type) else {
          throw ValidationError("'\(part)' is no type of a cache; write f32,f16")
        }
        return type
      }
    })
  var cacheTypes: [ElementType]?

  var isGiven: Bool { model != nil || modelShape != nil }
  /// The option that names the model.
  var name: String { modelShape == nil ? "model" : "model-shape" }

  private static func counts(_ text: String, _ noun: String) throws -> [Int] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
      guard let number = Int(part), number > 0, number <= 1 << 24 else {
        throw ValidationError("'\(part)' is no number of \(noun); write 16,128,512")
      }
      return number
    }
  }

  func validate() throws {
    if model != nil && modelShape != nil { throw ValidationError("give --model or --model-shape, not both") }
    if !isGiven && (promptLengths != nil || decode != nil) {
      throw ValidationError("--prompt-lengths and --decode are for --model")
    }
    if !isGiven && (batch != nil || cacheTypes != nil) {
      throw ValidationError("--batch and --cache-types are for --model")
    }
    if let decode, decode < 0 { throw ValidationError("--decode must be 0 or more, not \(decode)") }
  }
}

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
    /// Sequences side by side.
    let batch: Int
    @Nullable var cache_type: String?
    /// The median of several runs.
    let prefill_s: Double
    /// Of all sequences together.
    let prefill_tokens_per_s: Double
    /// (slowest − fastest) / median.
    let prefill_spread: Double
    let decode_tokens: Int
    @Nullable var decode_tokens_per_s: Double?
    /// (p90 − p10) / median of single tokens.
    @Nullable var decode_spread: Double?
  }

  private static let runs = 5

  init(_ options: ModelBenchOptions, on backend: any Backend, isQuiet: Bool) throws {
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
      }
    if let length = options.promptLengths?.first(where: { $0 > context }) {
      throw Failure("a prompt of \(length) tokens does not fit in the model's context of \(context)")
    }
    if case .decoder = loaded, let batch = options.batch?.first(where: { $0 > 1 }) {
      throw Failure("a batch of \(batch): decoders serve one sequence at a time; encoders take --batch")
    }
    if case .encoder = loaded, options.cacheTypes != nil {
      throw Failure("--cache-types: an encoder has no cache")
    }
    if !isQuiet {
      try Output.line("\(model) on \(backend.deviceName), loaded in \(fixed(load_s, 2)) s")
      try Output.line("  prompt  batch  cache  prefill tokens/s    ±%  decode tokens/s    ±%  after")
    }
    let lengths = options.promptLengths ?? [16, 128, 512].filter { $0 <= context }
    var results: [Entry] = []
    for length in lengths {
      switch loaded {
      case .encoder(let encoder):
        for batch in options.batch ?? [1] {
          results.append(try Self.encode(encoder, length, batch))
          if !isQuiet { try Output.line(results[results.count - 1].text) }
        }
      case .decoder(let decoder):
        for type in options.cacheTypes ?? [.f32] {
          results.append(try Self.decode(decoder, length, min(options.decode ?? 128, context - length), type))
          if !isQuiet { try Output.line(results[results.count - 1].text) }
        }
      }
    }
    let queue = (backend as? OpenCLBackend)?.queue
    device = backend.deviceName
    revision = Revision.current
    programs = queue?.buildStatistics.programs
    build_s = queue?.buildStatistics.seconds
    device_peak_bytes = backend.peakBytes
    self.results = results
    if !isQuiet, let queue {
      let built = queue.buildStatistics
      try Output.line("\(count(built.programs, "program")) built in \(fixed(built.seconds, 2)) s")
    }
  }

  /// What tokens these are changes nothing: any ids of the vocabulary will do.
  private static func ids(_ length: Int, of vocabulary: Int) -> [Int32] {
    (0..<length).map { Int32((7 * $0 + 11) % vocabulary) }
  }

  private static func encode(_ encoder: BERT, _ length: Int, _ batch: Int) throws -> Entry {
    let clock = ContinuousClock()
    let ids = [[Int32]](repeating: ids(length, of: encoder.vocabularySize), count: batch)
    var times: [Double] = []
    for run in 0...runs {
      Terminal.progress("\(count(batch, "sequence")) of \(length), run \(run) of \(runs)")
      let start = clock.now
      _ = try encoder.hidden(ids)
      try encoder.backend.synchronise()
      times.append(clock.now.seconds(since: start))
    }
    Terminal.progress("")
    return Entry(length, batch, nil, times: times, decoded: [])
  }

  private static func decode(_ decoder: any Decoder, _ length: Int, _ tokens: Int, _ cache: ElementType)
    throws
    -> Entry
  {
    let (clock, backend) = (ContinuousClock(), decoder.backend)
    let ids = ids(length, of: decoder.vocabularySize)
    var (times, decoded): ([Double], [Double]) = ([], [])
    for run in 0...runs {
      Terminal.progress("prompt of \(length), run \(run) of \(runs)")
      let state = try DecoderState(decoder, capacity: length + tokens, cacheType: cache)
      let begin = clock.now
      var next = try backend.integers(backend.argmax(state.prefill(ids)))[0]
      times.append(clock.now.seconds(since: begin))
      // The first run compiles; the last is the one whose decoding is timed.
      let isLast = run == runs
      for _ in 0..<(isLast ? tokens : run == 0 ? min(tokens, 2) : 0) {
        let start = clock.now
        next = try backend.integers(backend.argmax(state.decode(next)))[0]
        if isLast { decoded.append(clock.now.seconds(since: start)) }
      }
    }
    Terminal.progress("")
    return Entry(length, 1, cache, times: times, decoded: decoded)
  }
}

extension ModelBench.Entry {
  /// `times` of prefill, the first of which compiled; `decoded` of each token.
  fileprivate init(_ length: Int, _ batch: Int, _ cache: ElementType?, times: [Double], decoded: [Double]) {
    let (sorted, tokens) = (times.dropFirst().sorted(), decoded.sorted())
    let median = sorted[sorted.count / 2]
    prompt_tokens = length
    self.batch = batch
    cache_type = cache?.rawValue
    prefill_s = median
    prefill_tokens_per_s = Double(batch * length) / median
    prefill_spread = (sorted[sorted.count - 1] - sorted[0]) / median
    decode_tokens = tokens.count
    decode_tokens_per_s = tokens.isEmpty ? nil : Double(tokens.count) / tokens.reduce(0, +)
    decode_spread =
      tokens.isEmpty
      ? nil : (tokens[tokens.count * 9 / 10] - tokens[tokens.count / 10]) / tokens[tokens.count / 2]
  }

  fileprivate var text: String {
    right("\(prompt_tokens)", 8) + right("\(batch)", 7) + right(cache_type ?? "-", 7)
      + right(fixed(prefill_tokens_per_s, 1), 18) + right(fixed(prefill_spread * 100, 0), 6)
      + right(decode_tokens_per_s.map { fixed($0, 1) } ?? "-", 17)
      + right(decode_spread.map { fixed($0 * 100, 0) } ?? "-", 6) + "  \(decode_tokens) tokens"
  }
}

// MARK: - Other outputs

extension ModelBench {
  var csv: String {
    let names = [
      "model", "prompt_tokens", "batch", "cache_type", "prefill_s", "prefill_tokens_per_s", "prefill_spread",
      "decode_tokens", "decode_tokens_per_s", "decode_spread",
    ]
    return CSV.text(
      [names]
        + results.map { entry in
          [
            model, "\(entry.prompt_tokens)", "\(entry.batch)", entry.cache_type ?? "", "\(entry.prefill_s)",
            "\(entry.prefill_tokens_per_s)", "\(entry.prefill_spread)", "\(entry.decode_tokens)",
            entry.decode_tokens_per_s.map { "\($0)" } ?? "", entry.decode_spread.map { "\($0)" } ?? "",
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
      add("prefill\(kind)", .init(x: x, y: entry.prefill_tokens_per_s, spread: entry.prefill_spread))
      if let rate = entry.decode_tokens_per_s {
        add("decode\(kind)", .init(x: x, y: rate, spread: entry.decode_spread ?? 0))
      }
    }
    let name = model.split(separator: "/").last.map(String.init) ?? model
    return Plot(
      title: "\(name): prefill, and decode after it", subtitle: device, x: "tokens of the prompt",
      y: "tokens/s",
      panels: [Plot.Panel(series: series)], notes: ["Bars: the spread of several runs, or of single tokens."])
  }
}
