import Foundation
import Testing

/// fill-mask, classify, tag and answer from the command line; what they say is proved with the models' tests.
@Suite struct ReadingCommandTests {
  /// A tiny BERT with a vocabulary beside it.
  private func model(_ name: String, in scratch: Scratch) throws -> String {
    let target = scratch.folder.appendingPathComponent("model")
    try FileManager.default.copyItem(at: URL(fileURLWithPath: Models.path(name)), to: target)
    try FileManager.default.copyItem(
      at: URL(fileURLWithPath: Models.path("reading/vocab.txt")),
      to: target.appendingPathComponent("vocab.txt"))
    return target.path
  }

  /// A .npy file of float64: its shape and elements.
  private func array(_ arguments: [String], in scratch: Scratch) throws -> (shape: [Int], elements: [Double])
  {
    let file = try scratch.file("out.npy")
    let result = try run(arguments + ["--format", "npy"], output: file)
    #expect(result.status == 0, "\(result.errors)")
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: scratch.path("out.npy"))))
    let start = 10 + Int(bytes[8])
    let header = String(decoding: bytes[10..<start], as: UTF8.self)
    #expect(header.contains("'<f8'"))
    let tuple = try #require(header.split(separator: "(").last?.split(separator: ")").first)
    let elements = bytes[start...].withUnsafeBytes { data in
      (0..<data.count / 8).map { data.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self) }
    }
    return (tuple.split(separator: ",").compactMap { Int($0.filter { $0 != " " }) }, elements)
  }

  @Test func masks() throws {
    let scratch = try Scratch()
    let arguments = [
      "fill-mask", "--model", try model("encoders/bert-masked", in: scratch), "--text",
      "The [MASK] is [MASK].",
    ]
    let json = try run(arguments + ["--top", "2", "--format", "json"]).json()
    let guesses = try #require(json["predictions"] as? [[String: Any]])
    #expect(guesses.compactMap { $0["mask"] as? Int } == [0, 0, 1, 1])
    let (shape, elements) = try array(arguments, in: scratch)
    #expect(shape == [2, 61])
    for guess in guesses {
      let (mask, token) = (try #require(guess["mask"] as? Int), try #require(guess["token"] as? Int))
      #expect(abs(elements[mask * 61 + token] - (try #require(guess["score"] as? Double))) < 1e-12)
      #expect(guess["sequence"] is String && guess["token_str"] is String)
    }
    #expect(try run(arguments).output.split(separator: "\n").count == 10)
  }

  @Test func classes() throws {
    let scratch = try Scratch()
    try scratch.file("lines", "the cat\n\nit is\n").close()
    let arguments = [
      "classify", "--model", try model("encoders/bert-sequence", in: scratch), "--file",
      scratch.path("lines"),
    ]
    let results = try #require(
      try run(arguments + ["--format", "json"]).json()["results"] as? [[String: Any]])
    #expect(results.compactMap { $0["text"] as? String } == ["the cat", "", "it is"])
    let scores = try results.flatMap { result in
      try #require(result["scores"] as? [[String: Any]]).compactMap { $0["score"] as? Double }
    }
    let (shape, elements) = try array(arguments, in: scratch)
    #expect(shape == [3, 3] && distance(elements.map { Float($0) }, scores.map { Float($0) }) < 1e-7)
    #expect(try run(arguments).output.split(separator: "\n").count == 3)
  }

  @Test func entities() throws {
    let scratch = try Scratch()
    let text = "The cat is there."
    let arguments = ["tag", "--model", try model("reading/bert-tag", in: scratch), "--text", text]
    let results = try #require(
      try run(arguments + ["--format", "json"]).json()["results"] as? [[String: Any]])
    let entities = try #require(results.first?["entities"] as? [[String: Any]])
    #expect(entities.compactMap { $0["start"] as? Int } == [0, 4, 11, 14, 16])
    #expect(entities.compactMap { $0["word"] as? String } == ["The", "cat is", "the", "re", "."])
    let (shape, elements) = try array(arguments, in: scratch)
    #expect(shape[1] == 5 && shape[0] >= 5 && abs(elements.reduce(0, +) - Double(shape[0])) < 1e-9)
    #expect(try run(arguments).output.split(separator: "\n").count == 5)
  }

  @Test func answers() throws {
    let scratch = try Scratch()
    let arguments = [
      "answer", "--model", try model("encoders/bert-span", in: scratch), "--question", "Is it?", "--context",
      "the cat is it",
    ]
    let answers = try #require(
      try run(arguments + ["--format", "json"]).json()["answers"] as? [[String: Any]])
    #expect(answers.count == 1 && answers[0]["answer"] is String && answers[0]["end"] is Int)
    let (shape, elements) = try array(arguments, in: scratch)
    #expect(shape == [5, 2] && abs(elements.reduce(0, +) - 2) < 1e-9)
  }

  /// Each in one line, with the numbers in question.
  @Test(arguments: [
    ("encoders/bert-masked", ["fill-mask", "--text", "the cat"], 1, "no mask token"),
    ("encoders/bert-masked", ["fill-mask", "--text", "[MASK]", "--top", "0"], 2, "--top must be"),
    ("encoders/bert-masked", ["classify", "--text", "a"], 1, "and one for"),
    ("encoders/bert-sequence", ["classify"], 2, "--text or --file"),
    (
      "encoders/bert-sequence", ["classify", "--text", "a", "--pair", "b", "--pair", "c"], 2,
      "--pair is given"
    ),
    ("encoders/bert-sequence", ["classify", "--file", "/nonexistent"], 1, "cannot be opened"),
    (
      "encoders/bert-sequence", ["classify", "--text", String(repeating: "cat ", count: 40)], 1,
      "42 tokens, the model takes 32"
    ),
    ("reading/bert-tag", ["tag"], 2, "--text"),
    ("encoders/bert-span", ["answer", "--question", "", "--context", "a"], 2, "question is empty"),
    ("encoders/bert-span", ["answer", "--question", "a", "--context", ""], 1, "context has no tokens"),
    ("encoders/bert-span", ["answer", "--question", "a", "--context", "b", "--format", "xml"], 2, "npy"),
  ])
  func whatIsRefused(name: String, arguments: [String], status: Int, words: String) throws {
    let scratch = try Scratch()
    let result = try run(arguments + ["--model", try model(name, in: scratch)])
    #expect(result.status == status && result.output == "")
    #expect(
      result.errors.contains(words) && result.errors.split(separator: "\n").count == 1, "\(result.errors)")
  }

  @Test func withoutAVocabularyTextIsNotRead() throws {
    let result = try run(
      "classify", "--model", Models.path("encoders/bert-sequence"), "--text", "a")
    #expect(result.status == 1 && result.errors.contains("vocab"), "\(result.errors)")
  }

  /// A line of a megabyte, and bytes that are no text.
  @Test func oddLines() throws {
    let scratch = try Scratch()
    let path = try model("encoders/bert-sequence", in: scratch)
    var bytes = Data(String(repeating: "cat ", count: 250_000).utf8)
    bytes.append(contentsOf: [10, 0xff, 0xc0, 0x80, 10])
    try bytes.write(to: URL(fileURLWithPath: scratch.path("lines")))
    let result = try run(
      "classify", "--model", path, "--file", scratch.path("lines"), "--truncate", "--format", "json")
    #expect(result.status == 0, "\(result.errors)")
    #expect((try result.json()["results"] as? [Any])?.count == 2)
    #expect(result.errors == "flashcl: 1 line is no UTF-8; what cannot be read stands as U+FFFD\n")
  }
}
