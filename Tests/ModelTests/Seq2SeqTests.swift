import FlashCL
import FlashCLFiles
import FlashCLModels
import Foundation
import Testing

/// Tiny random encoder–decoders against `transformers` and torch.nn.Transformer (Fixtures/make_seq2seq.py).
@Suite struct Seq2SeqTests {
  static let models =
    (try? FileManager.default.contentsOfDirectory(atPath: Fixtures.path("seq2seq")))?.sorted() ?? []
  static let searched = models.filter {
    FileManager.default.fileExists(atPath: Fixtures.path("seq2seq/\($0)/beams.json"))
  }

  private struct Truth {
    let sources, targets: [[Int32]]
    let logits: [Float]

    init(_ name: String) throws {
      func split(_ ids: String, _ lengths: String) throws -> [[Int32]] {
        var rest = try Fixtures.integers("seq2seq/\(name)/\(ids).npy").elements[...]
        return try Fixtures.integers("seq2seq/\(name)/\(lengths).npy").elements.map { length in
          defer { rest = rest.dropFirst(Int(length)) }
          return Array(rest.prefix(Int(length)))
        }
      }
      sources = try split("sources", "lengths")
      targets = try split("targets", "target_lengths")
      logits = try Fixtures.floats("seq2seq/\(name)/logits.npy").elements
    }
  }

  private func load(_ name: String, _ place: Place) throws -> any EncoderDecoder {
    let source = try ModelSource.open(Fixtures.path("seq2seq/\(name)"))
    guard case .encoderDecoder(let model) = try Architectures.load(source, on: place.backend()) else {
      throw ModelError("\(name) is no encoder–decoder")
    }
    return model
  }

  @Test func everyFamilyIsThere() { #expect(Self.models.count == 9 && Self.searched.count == 5) }

  /// Sources and targets of unequal lengths in one call, each as it is alone.
  @Test(arguments: models, Place.available)
  func logitsAreThoseOfTheTruth(name: String, place: Place) throws {
    let truth = try Truth(name)
    let model = try load(name, place)
    let state = try EncoderDecoderState(model, TokenBatch(truth.sources), capacity: 20)
    let hidden = try state.hidden(truth.targets, phase: .prefill)
    let logits = try model.backend.floats(model.logits(hidden, phase: .prefill))
    #expect(distance(logits, truth.logits) <= 1e-4)
  }

  /// The same tensors under llama.cpp's names (Fixtures/make_gguf.py).
  @Test(arguments: ["t5", "flan-t5"], Place.available)
  func ggufHoldsTheSame(name: String, place: Place) throws {
    let truth = try Truth(name)
    let model = try load("../gguf/\(name).gguf", place)
    let state = try EncoderDecoderState(model, TokenBatch(truth.sources), capacity: 20)
    let hidden = try state.hidden(truth.targets, phase: .prefill)
    let logits = try model.backend.floats(model.logits(hidden, phase: .prefill))
    #expect(try distance(logits, Fixtures.floats("gguf/\(name).npy").elements) <= 1e-4)
    let options = try BeamOptions(ModelSource.open(Fixtures.path("gguf/\(name).gguf")))
    #expect(options.start == 0 && options.ends == [1])
  }

  /// Tokens are drawn by the model's probabilities; the same seed draws the same, beside others and alone.
  @Test(arguments: ["marian", "t5"], Place.available)
  func tokensAreDrawn(name: String, place: Place) throws {
    let truth = try Truth(name)
    let model = try load(name, place)
    var options = try BeamOptions(ModelSource.open(Fixtures.path("seq2seq/\(name)")))
    options.maxTokens = 12
    var sampling = SamplingOptions()
    let greedy = try model.generate(TokenBatch(truth.sources), options).map { $0[0].tokens }
    #expect(try model.sample(TokenBatch(truth.sources), options, sampling).map { $0[0].tokens } == greedy)
    (sampling.temperature, sampling.topK, sampling.seed) = (1, 1, 5)
    #expect(try model.sample(TokenBatch(truth.sources), options, sampling).map { $0[0].tokens } == greedy)
    sampling.topK = nil
    options.results = 3
    let drawn = try model.sample(TokenBatch(truth.sources), options, sampling)
    let alone = try model.sample(TokenBatch([truth.sources[2]]), options, sampling, first: 2)
    #expect(drawn.count == 4 && drawn.allSatisfy { $0.count == 3 } && Set(drawn[0].map(\.tokens)).count == 3)
    #expect(drawn[2].map(\.tokens) == alone[0].map(\.tokens))
    sampling.seed = 6
    let other = try model.sample(TokenBatch(truth.sources), options, sampling)
    #expect(other.map { $0.map(\.tokens) } != drawn.map { $0.map(\.tokens) })

    // How often each token comes first: four standard deviations of 2000 draws.
    (options.maxTokens, options.results) = (1, 2000)
    (options.forcedLast, options.forcedFirst, options.banned) = ([], nil, [])
    let firsts = try model.sample(TokenBatch([truth.sources[0]]), options, sampling)[0]
    let state = try EncoderDecoderState(model, TokenBatch([truth.sources[0]]), capacity: 1)
    let logits = try model.backend.floats(state.decode([[options.start]])).map { Double($0) }
    let total = logits.reduce(0) { $0 + exp($1) }
    for (id, logit) in logits.enumerated() {
      let p = exp(logit) / total
      let share = Double(firsts.count { $0.tokens == [Int32(id)] }) / 2000
      #expect(abs(share - p) <= 4 * (p * (1 - p) / 2000).squareRoot() + 1e-3, "token \(id)")
      if let found = firsts.first(where: { $0.tokens == [Int32(id)] }) {
        #expect(abs(Double(found.score) - log(p)) < 1e-4)
      }
    }
  }

  /// One token of each target at a time, where short ones rest.
  @Test(arguments: models, Place.available)
  func stepsMakeTheWhole(name: String, place: Place) throws {
    let truth = try Truth(name)
    let model = try load(name, place)
    let state = try EncoderDecoderState(model, TokenBatch(truth.sources), capacity: 20, reserve: 16)
    var rows = truth.targets.map { _ in [Float]() }
    for step in 0..<(truth.targets.map(\.count).max() ?? 0) {
      let ids = truth.targets.map { $0.count > step ? [$0[step]] : [] }
      let logits = try model.backend.floats(state.decode(ids))
      for (row, index) in ids.indices.filter({ !ids[$0].isEmpty }).enumerated() {
        rows[index] += logits[row * model.vocabularySize..<(row + 1) * model.vocabularySize]
      }
    }
    #expect(distance(Array(rows.joined()), truth.logits) <= 1e-4)
  }

  /// Twenty sources of unequal lengths side by side find what `generate` finds for each alone.
  @Test(arguments: searched, Place.available)
  func beamsAreThoseOfTransformers(name: String, place: Place) throws {
    let truth = try Fixtures.json("seq2seq/\(name)/beams.json")
    func ids(_ json: JSON?) -> [Int32] { (json?.array ?? []).compactMap { $0.int.map { Int32($0) } } }
    let sources = (truth["sources"]?.array ?? []).map { ids($0) }
    #expect(sources.count == 20)
    let translator = try Translator(Fixtures.path("seq2seq/\(name)"), on: place.backend())
    for search in truth["searches"]?.array ?? [] {
      var options = translator.options
      options.width = search["num_beams"]?.int ?? 0
      options.results = search["num_return_sequences"]?.int ?? 0
      options.maxTokens = search["max_new_tokens"]?.int ?? 0
      options.lengthPenalty = Float(search["length_penalty"]?.double ?? 1)
      options.noRepeatNgram = search["no_repeat_ngram_size"]?.int ?? 0
      options.minLength = search["min_length"]?.int ?? 0
      let early = search["early_stopping"]
      options.earlyStopping = early?.bool == true ? .yes : early?.string == "never" ? .never : .no
      let found = try translator.model.generate(TokenBatch(sources), options)
      for (index, expected) in (search["results"]?.array ?? []).enumerated() {
        #expect(found[index].map(\.tokens) == (expected.array ?? []).map { ids($0["tokens"]) })
        for (own, other) in zip(found[index], expected.array ?? []) {
          if let score = other["score"]?.double { #expect(abs(Double(own.score) - score) <= 1e-3) }
        }
      }
    }
  }

  /// Beams that share full blocks and copy the last: each must stay what it is when the others go on.
  @Test(arguments: Place.available)
  func reorderedBeamsAreTheirParents(place: Place) throws {
    let model = try load("transformer-post", place)
    let source: [Int32] = [3, 1, 4, 1, 5]
    let common = (0..<17).map { Int32($0 % 29) }
    // Memory for one block of each beam at first: that for the rest comes with the tokens.
    let state = try EncoderDecoderState(
      model, TokenBatch([source, [9, 2]]), beams: 3, capacity: 40, reserve: 1)
    _ = try state.hidden([[], common, [], [7], [], []], phase: .prefill)
    try state.reorder([1, 1, 1, nil, 3, nil])
    let ends: [[Int32]] = [[1, 2], [3, 4], [5, 6], [], [8, 9], []]
    _ = try state.hidden(ends.map { Array($0.prefix(1)) }, phase: .decode)
    try state.reorder([2, 0, 1, nil, nil, 4])
    let last = try model.backend.floats(
      state.decode([[6], [2], [4], [], [], [9]]))
    for (row, tokens) in [common + [5, 6], common + [1, 2], common + [3, 4], [7, 8, 9]].enumerated() {
      let alone = try EncoderDecoderState(
        model, TokenBatch([row == 3 ? [9, 2] : source]), capacity: tokens.count)
      let hidden = try alone.hidden([tokens], phase: .prefill)
      let whole = try model.backend.floats(
        model.logits(hidden.slice(0, tokens.count - 1..<tokens.count), phase: .prefill))
      #expect(distance(last[row * whole.count..<(row + 1) * whole.count], whole) <= 1e-4)
    }
  }

  /// A search that may go on for a million tokens takes memory for those that it makes.
  @Test(arguments: Place.available)
  func aLimitTakesNoMemory(place: Place) throws {
    let translator = try Translator(Fixtures.path("seq2seq/t5"), on: place.backend())
    var options = translator.options
    (options.width, options.maxTokens, options.earlyStopping) = (4, 1 << 20, .yes)
    // One token can be gone on with; the others end a text, and are allowed to after a while.
    (options.ends, options.minLength) = (Set(1..<67), 30)
    let found = try translator.model.generate(TokenBatch([[5, 6, 7], [8, 9]]), options)
    #expect(found.allSatisfy { (30..<100).contains($0[0].tokens.count) })
    // Two layers' keys and values of 24 numbers for 8 beams of 2²⁰ tokens would be 3 GiB.
    if let bytes = translator.model.backend.peakBytes { #expect(bytes < 1 << 24) }
  }

  /// What a model's files say of lengths, in the order of `transformers`; 256 where they say nothing.
  @Test func lengthsOfTheFiles() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("lengths-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let other = try FileManager.default.contentsOfDirectory(atPath: Fixtures.path("seq2seq/t5"))
    for file in other where file.hasPrefix("model") {
      try FileManager.default.copyItem(
        atPath: Fixtures.path("seq2seq/t5/\(file)"), toPath: folder.appendingPathComponent(file).path)
    }
    for (settings, limit) in [
      ("", 256), (#", "max_length": 30"#, 29), (#", "max_length": 30, "max_new_tokens": 40"#, 40),
    ] {
      let config =
        #"{"architectures": ["T5ForConditionalGeneration"], "decoder_start_token_id": 0\#(settings)}"#
      try Data(config.utf8).write(to: folder.appendingPathComponent("config.json"))
      guard case .folder(let files) = try ModelSource.open(folder.path) else {
        throw ModelError("\(folder.path) is no folder")
      }
      #expect(try BeamOptions(files).maxTokens == limit)
    }
  }

  @Test(arguments: Place.available)
  func whatDoesNotFitIsRefused(place: Place) throws {
    let model = try load("bart", place)
    #expect(model.sourceLength == 40)
    let long = [Int32](repeating: 5, count: 41)
    #expect(throws: ModelError("41 tokens do not fit in the model's context of 40")) {
      try model.encode(TokenBatch([long]), observe: nil)
    }
    #expect(throws: ModelError("41 target tokens do not fit in the model's 40 positions")) {
      try EncoderDecoderState(model, TokenBatch([[5]]), capacity: 41)
    }
    #expect(throws: ModelError("token id 67 is outside the model's vocabulary of 67")) {
      try EncoderDecoderState(model, TokenBatch([[5]]), capacity: 4).hidden([[67]], phase: .prefill)
    }
    let translator = try Translator(Fixtures.path("seq2seq/bart"), on: place.backend())
    #expect(throws: ModelError("41 source tokens do not fit in the model's 40 positions")) {
      try translator.fitted(long + [], truncates: false)
    }
    #expect(try translator.fitted(long.dropLast() + [2], truncates: true) == long.prefix(39) + [2])
    var options = translator.options
    for (width, results) in [(0, 1), (4, 5), (4, 0), (600, 1)] {
      (options.width, options.results) = (width, results)
      #expect(throws: ModelError.self) { try model.generate(TokenBatch([[5]]), options) }
    }
  }
}

/// Beam search by itself, on candidates that are written down.
@Suite struct BeamSearchTests {
  /// 好久不见: the decoder is fed "start" and what it said, until it says "end".
  @Test func theLoopOfTranslation() {
    let words = ["start", "long", "time", "no", "see", "end"]
    var options = BeamOptions()
    (options.start, options.ends, options.maxTokens) = (0, [5], 20)
    var search = BeamSearch(options)
    while !search.isDone {
      let last = search.running[0].tokens.last ?? 0
      _ = search.advance([[Candidate(last + 1, -0.1), Candidate(2, -3)]])
    }
    let said = search.results[0].tokens.map { words[Int($0)] }
    #expect(["start"] + said == words)
    #expect(abs(search.results[0].score + 0.1) < 1e-6)
  }

  private func search(_ edit: (inout BeamOptions) -> Void) -> BeamSearch {
    var options = BeamOptions()
    (options.width, options.results, options.ends, options.maxTokens) = (2, 2, [9], 4)
    edit(&options)
    return BeamSearch(options)
  }

  /// The likelier first word leads into a corner; two beams find the way around it, one does not.
  @Test func aSecondBeamFindsWhatGreedyMisses() {
    func next(_ beam: BeamSearch.Beam) -> [Candidate] {
      switch beam.tokens.last {
      case 0: [Candidate(1, -0.5), Candidate(2, -0.9), Candidate(3, -5), Candidate(4, -6)]
      case 1: [Candidate(9, -3), Candidate(5, -4), Candidate(3, -5), Candidate(4, -6)]
      default: [Candidate(9, -0.1), Candidate(5, -4), Candidate(3, -5), Candidate(4, -6)]
      }
    }
    for (width, best) in [(1, [Int32(1), 9]), (2, [2, 9])] {
      var search = search { ($0.width, $0.results) = (width, 1) }
      while !search.isDone { _ = search.advance(search.running.map(next)) }
      #expect(search.results.map(\.tokens) == [best])
    }
  }

  @Test func whatIsBannedAndWhatIsForced() {
    var search = search {
      ($0.noRepeatNgram, $0.minLength, $0.banned) = (2, 3, [[7], [1, 2], [9]])
      ($0.forcedFirst, $0.forcedLast) = (1, [9])
    }
    #expect(search.banned(0) == [7, 9])  // too short to end
    let parents = search.advance([[Candidate(3, -1), Candidate(4, -2)]])
    #expect(parents == [0])
    #expect(search.running.map(\.tokens) == [[0, 1]] && search.running[0].score == 0)
    #expect(search.banned(0) == [7, 2, 9])
    _ = search.advance([[Candidate(1, -1), Candidate(3, -2)]])
    #expect(search.banned(0) == [7, 2, 1])  // 1, 1 was there; the end may come, though it is a banned word
    _ = search.advance([[Candidate(4, -1)], [Candidate(4, -1)]])
    #expect(search.running.map(\.score) == [-2, -3])
    _ = search.advance([[Candidate(4, -1)], [Candidate(4, -1)]])
    #expect(search.isDone && search.finished.map(\.tokens) == [[1, 1, 4, 9], [1, 3, 4, 9]])
  }

  /// What the search is not given cannot be gone on with: a model of NaN ends it with nothing.
  @Test func nothingToGoOnWith() {
    var search = search { _ in }
    let parents = search.advance([[Candidate(1, .nan), Candidate(2, -.infinity)]])
    #expect(parents.isEmpty && search.isDone && search.finished.isEmpty)
  }
}
