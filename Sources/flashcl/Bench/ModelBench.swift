import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLOpenCL

/// Tokens per second of a model: prefill of prompts of several lengths, and decoding after each; of an encoder–decoder the
/// encoding of sources, and steps of greedy and of beam search. Of one model, or of several of random weights.
struct ModelBench: Encodable {
  let device: String
  let revision: String
  /// Several are joined by commas; each row has its own.
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

  init(
    _ options: ModelBenchOptions, on backend: any Backend, _ deadline: Deadline, isQuiet: Bool
  ) throws {
    let clock = ContinuousClock()
    var (results, loading, rowCount): ([Entry], Double, Int) = ([], 0, 0)
    for (place, model) in options.models.enumerated() {
      let (start, held) = (clock.now, Self.heldBytes(backend))
      let subject = try Subject(model.name, model.shape, options, on: backend)
      let seconds = clock.now.seconds(since: start)
      loading += seconds
      let weights = Self.heldBytes(backend).map { $0 - (held ?? 0) }
      let rows = try subject.rows(options)
      if !isQuiet {
        try Output.line("\(model.name) on \(backend.deviceName), loaded in \(fixed(seconds, 2)) s")
        try Output.line(subject.header)
      }
      var own: [Entry] = []
      for row in rows {
        if deadline.isOver(needed: row.seconds(after: own)) { break }
        var entry = try row.measure()
        (entry.model, entry.weight_bytes) = (model.name, weights)
        Terminal.progress("")
        own.append(entry)
        if !isQuiet { try Output.line(entry.text) }
      }
      results += own
      rowCount += rows.count
      if own.count < rows.count {
        rowCount += rows.count * (options.models.count - 1 - place)  // those that are not loaded have as many
        break
      }
    }
    (model, load_s) = (options.models.map(\.name).joined(separator: ","), loading)
    let queue = (backend as? OpenCLBackend)?.queue
    device = backend.deviceName
    revision = Revision.current
    programs = queue?.buildStatistics.programs
    build_s = queue?.buildStatistics.seconds
    device_peak_bytes = backend.peakBytes
    self.results = results
    stop = Stop(deadline, ran: results.count, of: rowCount)
    (stopped_after_s, not_run) = (stop?.seconds, stop?.notRun ?? 0)
    if !isQuiet, let queue {
      let built = queue.buildStatistics
      try Output.line("\(count(built.programs, "program")) built in \(fixed(built.seconds, 2)) s")
    }
    if !isQuiet, let stop { try Output.line(stop.text("row")) }
  }

  /// What a picture says of what did not run.
  var stopNotes: [String] { Stop.notes(stop, "row") }

  private static func heldBytes(_ backend: any Backend) -> Int? {
    (backend as? any RehearsingBackend)?.heldBytes
  }
}

extension ModelBench {
  /// What is timed: a model, or a whole sentence encoder with its tokenizer.
  private enum Subject {
    case decoder(any Decoder, String)
    case encoder(any TextEncoder, String)
    case sentences(SentenceEncoder, [[UInt8]], String)
    case encoderDecoder(any EncoderDecoder, String, beams: Int)

    init(_ name: String, _ shape: ModelShape?, _ options: ModelBenchOptions, on backend: any Backend) throws {
      if let texts = options.texts {
        let lines = Array(try Lines(file: texts))
        guard !lines.isEmpty else { throw Failure("\(texts): there are no lines to embed") }
        let encoder = try SentenceEncoder(name, on: backend, progress: Terminal.loading)
        self = .sentences(encoder, lines, name)
        return
      }
      let loaded =
        if let shape {
          try Architectures.random(shape, on: backend, progress: Terminal.loading)
        } else {
          try Architectures.load(ModelSource.open(name), on: backend, progress: Terminal.loading)
        }
      switch loaded {
      case .decoder(let decoder): self = .decoder(decoder, name)
      case .encoder(let encoder): self = .encoder(encoder, name)
      case .encoderDecoder(let model): self = .encoderDecoder(model, name, beams: options.beam ?? 4)
      }
    }

    var name: String {
      switch self {
      case .decoder(_, let name), .encoder(_, let name), .sentences(_, _, let name),
        .encoderDecoder(_, let name, _):
        name
      }
    }

    /// Above the columns of `Entry.text`.
    var header: String {
      guard case .encoderDecoder(_, _, let beams) = self else {
        return "  prompt  batch  cache  prefill tokens/s    ±%  decode tokens/s    ±%  after"
      }
      let beam = beams > 1 ? right("beam \(beams) ms", 12) + "    ±%  ratio" : ""
      return "  source  batch   encode tokens/s    ±%  greedy ms    ±%\(beam)  steps"
    }

    /// What is to be timed, in order; throws where an option is for another kind of model, or does not fit.
    func rows(_ options: ModelBenchOptions) throws -> [Row] {
      if options.beam != nil {
        guard case .encoderDecoder = self else {
          throw Failure("--beam is for encoder–decoders; \(name) is none")
        }
      }
      if options.cacheTypes != nil || options.cacheLengths != nil {
        guard case .decoder = self else {
          throw Failure("--cache-types and --cache-lengths are for decoders; \(name) is none")
        }
      }
      let batches = options.batch ?? [1]
      switch self {
      case .encoder(let encoder, _):
        return try prompts(options, within: encoder.contextLength).flatMap { spread in
          batches.map { batch in
            let lengths = spread.lengths(batch)
            return Row(lengths: lengths) { try ModelTimer.encode(encoder, lengths) }
          }
        }
      case .sentences(let encoder, let lines, _):
        let lengths = try lines.map { try encoder.tokens($0).ids.count }
        return (options.batch ?? [32]).map { batch in
          Row(lengths: lengths) { try ModelTimer.embed(encoder, lines, batch, lengths) }
        }
      case .decoder(let decoder, _):
        let context = decoder.contextLength
        if let length = options.cacheLengths?.first(where: { $0 >= context }) {
          throw Failure("after \(length) tokens none fits in the model's context of \(context)")
        }
        let points =
          try prompts(options, within: context).map { ($0, ModelTimer.runs) }
          + (options.cacheLengths ?? []).map { (Spread($0), 0) }
        return points.flatMap { spread, runs in
          batches.flatMap { batch in
            (options.cacheTypes ?? [.f32]).map { cache in
              let (lengths, tokens) = (
                spread.lengths(batch), min(options.decode ?? 128, context - spread.most)
              )
              return Row(lengths: lengths, runs: runs, steps: tokens) {
                try ModelTimer.decode(decoder, lengths, tokens: tokens, cache: cache, prefillRuns: runs)
              }
            }
          }
        }
      case .encoderDecoder(let model, _, let beams):
        // The first step is not timed: the encoder runs in it, and one beam of each source.
        let steps = min(options.decode ?? 128, model.targetLength - 1)
        return try prompts(options, within: model.sourceLength).flatMap { spread in
          batches.map { batch in
            let lengths = spread.lengths(batch)
            return Row(lengths: lengths, steps: steps, passes: 3 * ModelTimer.rounds) {
              try ModelTimer.search(model, lengths, steps: steps, beams: beams)
            }
          }
        }
      }
    }

    private func prompts(_ options: ModelBenchOptions, within context: Int) throws -> [Spread] {
      if let given = options.promptLengths {
        if let spread = given.first(where: { $0.most > context }) {
          throw Failure(
            "a prompt of \(spread.most) tokens does not fit in the model's context of \(context)")
        }
        return given
      }
      return options.cacheLengths == nil ? [16, 128, 512].filter { $0 <= context }.map { Spread($0) } : []
    }
  }

  /// A row that is about to be timed.
  private struct Row {
    let lengths: [Int]
    var runs = ModelTimer.runs
    var steps = 0
    /// How often each step is run, beams of searches counted by about what they cost.
    var passes = 1
    let measure: () throws -> Entry

    /// What it needs at the rates of those before it, for a row is timed whole; 0 where there are none.
    func seconds(after results: [Entry]) -> Double {
      func seconds(_ tokens: Int, _ rate: KeyPath<Entry, Double?>) -> Double {
        results.last { $0[keyPath: rate] != nil }?[keyPath: rate].map { Double(tokens) / $0 } ?? 0
      }
      return seconds((runs + 1) * lengths.reduce(0, +), \.prefill_tokens_per_s)
        + seconds(passes * steps * lengths.count, \.decode_tokens_per_s)
    }
  }
}

// MARK: - Other outputs

extension ModelBench {
  var csv: String {
    func text(_ value: Double?) -> String { value.map { "\($0)" } ?? "" }
    let names = [
      "model", "prompt_tokens", "batch", "cache_type", "prefill_s", "prefill_tokens_per_s", "prefill_spread",
      "decode_tokens", "decode_tokens_per_s", "decode_spread", "beam", "greedy_step_s", "beam_step_s",
      "beam_spread", "beam_ratio",
    ]
    return CSV.text(
      [names]
        + results.map { entry in
          [
            entry.model, entry.prompts, "\(entry.batch)", entry.cache_type ?? "", text(entry.prefill_s),
            text(entry.prefill_tokens_per_s), text(entry.prefill_spread), "\(entry.decode_tokens)",
            text(entry.decode_tokens_per_s), text(entry.decode_spread), entry.beam.map { "\($0)" } ?? "",
            text(entry.greedy_step_s), text(entry.beam_step_s), text(entry.beam_spread),
            text(entry.beam_ratio),
          ]
        })
  }
}
