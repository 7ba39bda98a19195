import FlashCL
import FlashCLFiles
import FlashCLModels
import Foundation
import Testing

/// What heads say of texts, against transformers' pipelines (Fixtures/make_reading.py).
@Suite struct ReadingTests {
  private let answers: JSON

  init() throws { answers = try Fixtures.json("reading/answers.json") }

  /// A tiny BERT with a vocabulary beside it.
  private func model(_ head: String, _ task: EncoderTask, _ place: Place) throws -> (EncoderModel, URL) {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("flashcl-\(UUID().uuidString)")
    try FileManager.default.copyItem(at: URL(fileURLWithPath: Fixtures.path(head)), to: folder)
    try FileManager.default.copyItem(
      at: URL(fileURLWithPath: Fixtures.path("reading/vocab.txt")),
      to: folder.appendingPathComponent("vocab.txt"))
    return (try EncoderModel(folder.path, for: task, on: place.backend()), folder)
  }

  @Test(arguments: Place.available)
  func masksAreFilled(place: Place) throws {
    let (model, folder) = try model("encoders/bert-masked", .maskedToken, place)
    defer { try? FileManager.default.removeItem(at: folder) }
    for item in try #require(answers["fill_mask"]?.array) {
      let guesses = try model.fillMask(try #require(item["text"]?.string), top: 4)[0]
      let truth = try #require(item["guesses"]?.array)
      #expect(guesses.map { Int($0.id) } == truth.compactMap { $0["token"]?.int })
      for (guess, truth) in zip(guesses, truth) {
        #expect(abs(guess.score - (truth["score"]?.double ?? 0)) < 1e-5)
      }
    }
    let probabilities = try model.maskProbabilities("[MASK] is [MASK]")
    let two = try model.fillMask("[MASK] is [MASK]", top: 2)
    for (row, guesses) in zip(probabilities, two) {
      #expect(row.count == 61 && abs(row.reduce(0, +) - 1) < 1e-9)
      #expect(guesses.map { row[Int($0.id)] } == guesses.map(\.score) && row.max() == guesses[0].score)
    }
    #expect(two.count == 2 && two.allSatisfy { $0.count == 2 } && two[0][0].text.contains("[MASK]"))
    #expect(throws: ModelError("the text has no mask token; write [MASK] where a word is to be guessed")) {
      try model.fillMask("the cat", top: 1)
    }
  }

  @Test(arguments: Place.available)
  func textsAreClassified(place: Place) throws {
    let (model, folder) = try model("encoders/bert-sequence", .sequence, place)
    defer { try? FileManager.default.removeItem(at: folder) }
    let items = try #require(answers["classify"]?.array)
    let texts = items.map { ($0["text"]?.string ?? "", $0["pair"]?.string) }
    for (found, item) in zip(try model.classify(texts), items) {
      let truth = try #require(item["scores"]?.array)
      #expect(found.label == truth.first?["label"]?.string)
      for score in truth {
        let ours = found.scores.first { $0.label == score["label"]?.string }?.score ?? 0
        #expect(abs(ours - (score["score"]?.double ?? 0)) < 1e-5, "\(item)")
      }
    }
  }

  @Test(arguments: Place.available)
  func entitiesAreFound(place: Place) throws {
    let (model, folder) = try model("reading/bert-tag", .token, place)
    defer { try? FileManager.default.removeItem(at: folder) }
    let items = try #require(answers["tag"]?.array)
    #expect(items.contains { ($0["entities"]?.array ?? []).count > 3 }, "a weak golden")
    for item in items {
      let spans = try model.tag(try #require(item["text"]?.string))
      let truth = try #require(item["entities"]?.array)
      #expect(spans.map(\.label) == truth.compactMap { $0["entity_group"]?.string }, "\(item)")
      #expect(spans.map { $0.range.lowerBound } == truth.compactMap { $0["start"]?.int }, "\(item)")
      #expect(spans.map { $0.range.upperBound } == truth.compactMap { $0["end"]?.int }, "\(item)")
      for (span, truth) in zip(spans, truth) {
        #expect(abs(span.score - (truth["score"]?.double ?? 0)) < 1e-5)
      }
    }
  }

  @Test(arguments: Place.available)
  func questionsAreAnswered(place: Place) throws {
    let (model, folder) = try model("encoders/bert-span", .span, place)
    defer { try? FileManager.default.removeItem(at: folder) }
    for item in try #require(answers["answer"]?.array) {
      let context = try #require(item["context"]?.string)
      let answers = try model.answer(item["question"]?.string ?? "", context: context)
      let found = try #require(answers.first)
      #expect(found.range.lowerBound == item["answer"]?["start"]?.int, "\(item)")
      #expect(found.range.upperBound == item["answer"]?["end"]?.int, "\(item)")
      #expect(found.text == item["answer"]?["answer"]?.string)
      #expect(abs(found.score - (item["answer"]?["score"]?.double ?? 0)) < 1e-5)
    }
  }

  @Test func whatDoesNotFitIsRefusedOrCut() throws {
    let (model, folder) = try model("encoders/bert-sequence", .sequence, .cpu)
    defer { try? FileManager.default.removeItem(at: folder) }
    let long = String(repeating: "cat ", count: 40)
    #expect(throws: ModelError("the text has 42 tokens, the model takes 32: shorten it, or let it be cut")) {
      try model.classify([(long, nil)])
    }
    model.truncates = true
    #expect(try model.encode(long).count == 32)
    let pair = try model.encode("the cat", pair: long)
    #expect(pair.count == 32 && pair.sources.count { $0 == 0 } == 2)
    #expect(throws: ModelError.self) { try EncoderModel(folder.path, for: .span, on: Place.cpu.backend()) }
  }
}
