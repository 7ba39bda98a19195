import Foundation
import Testing

/// `translate`, and `logits --source`, on tiny encoder–decoders (ModelTests/Fixtures/make_seq2seq.py).
@Suite struct TranslateTests {
  private static func model(_ name: String) -> String { Models.path("seq2seq/\(name)") }

  private func tokens(_ outcome: Outcome) throws -> [[[Int]]] {
    let all = try #require(try outcome.json()["translations"] as? [[String: Any]])
    return try all.map { translation in
      try #require(translation["hypotheses"] as? [[String: Any]]).map { try #require($0["tokens"] as? [Int]) }
    }
  }

  /// Words are read and written by the model's tokenizer, and ids are the same without it.
  @Test func textsAndIds() throws {
    let scratch = try Scratch()
    try Data("word10 word20\nword5\n".utf8).write(to: URL(fileURLWithPath: scratch.path("t.txt")))
    let bart = Self.model("bart")
    let common = ["--model", bart, "--beam", "3", "--n-best", "2", "--max-tokens", "8"]
    let byText = try run(["translate", "--file", scratch.path("t.txt"), "--format", "json"] + common)
    let byIds = try run(
      ["translate", "--source-tokens", "0,10,20,2", "--source-tokens", "0,5,2", "--format", "json"] + common)
    #expect(byText.status == 0 && byIds.status == 0, "\(byText.errors)\(byIds.errors)")
    let found = try tokens(byText)
    #expect(found.count == 2 && found.allSatisfy { $0.count == 2 && $0.allSatisfy { $0.first == 0 } })
    #expect(try tokens(byIds) == found)
    let plain = try run(["translate", "--text", "word5", "--format", "text"] + common)
    let lines = plain.output.split(separator: "\n").map {
      $0.split(separator: "\t", omittingEmptySubsequences: false)
    }
    #expect(lines.count == 2 && lines.allSatisfy { $0.count == 2 && Double($0[0]) != nil })
    let words = found[1][0].filter { $0 > 2 }.map { $0 == 3 ? "[UNK]" : "word\($0)" }
    #expect(lines[0][1] == words.joined(separator: " "))
    // Greedy, by its ids alone.
    let greedy = try run(
      "translate", "--source-tokens", "0,5,2", "--model", Self.model("marian"), "--beam", "1", "--max-tokens",
      "4")
    #expect(greedy.status == 0 && greedy.output.split(separator: ",").count <= 4)
  }

  @Test func tokensAreDrawn() throws {
    let arguments = [
      "translate", "--model", Self.model("marian"), "--source-tokens", "5,6,7", "--source-tokens", "9",
      "--max-tokens", "9", "--temperature", "1", "--n-best", "2", "--format", "json",
    ]
    let first = try tokens(run(arguments + ["--seed", "3"]))
    #expect(first.count == 2 && first.allSatisfy { $0.count == 2 && $0[0] != $0[1] })
    #expect(try tokens(run(arguments + ["--seed", "3"])) == first)
    #expect(try tokens(run(arguments + ["--seed", "4"])) != first)
    let beams = try run(arguments + ["--beam", "4"])
    #expect(beams.status == 2 && beams.errors.contains("--beam must be 1"))
  }

  @Test func logitsOfThePair() throws {
    let scratch = try Scratch()
    let path = scratch.path("l.npy")
    let result = try run(
      "logits", "--model", Self.model("t5"), "--source", "5,6,7", "--tokens", "0,9", "--output", path)
    #expect(result.status == 0, "\(result.errors)")
    #expect(try FloatArray(path).shape == [2, 67])
  }

  private static let long = (0..<41).map { "\($0)" }.joined(separator: ",")

  @Test(arguments: [
    (["--source-tokens", "1", "--beam", "0"], 2, "not 0"),
    (["--source-tokens", "1", "--beam", "2", "--n-best", "3"], 2, "2 beams"),
    (["--source-tokens", "1", "--max-tokens", "0"], 2, "not 0"),
    (["--source-tokens", "1", "--text", "a"], 2, "one of"), ([], 2, "one of"),
    (["--source-tokens", "67"], 1, "67"), (["--source-tokens", "1", "--first-token", "70"], 1, "70"),
    (["--source-tokens", long], 1, "41 source tokens do not fit in the model's 40"),
    (["--text", "word5"], 1, "tokenizer.json"),
  ])
  func whatIsRefused(arguments: [String], status: Int, words: String) throws {
    let result = try run(["translate", "--model", Self.model("marian")] + arguments)
    #expect(Int(result.status) == status && result.errors.contains(words), "\(result.errors)")
    #expect(result.errors.filter { $0 == "\n" }.count == 1 && result.output.isEmpty)
  }

  @Test func whatIsCut() throws {
    let result = try run(
      "translate", "--model", Self.model("marian"), "--source-tokens", Self.long, "--truncate",
      "--max-tokens", "3")
    #expect(result.status == 0)
  }

  @Test(arguments: [
    (["logits", "--tokens", "1", "--output", "l.npy", "--model", model("t5")], 2, "--source"),
    (
      [
        "logits", "--tokens", "1", "--source", "1", "--output", "l.npy", "--model", Models.path("llama-tied"),
      ], 2,
      "--source"
    ),
    (["logits", "--tokens", "1", "--source", "99", "--output", "l.npy", "--model", model("t5")], 1, "99"),
    (["generate", "--prompt", "a", "--model", model("t5")], 1, "translate"),
    (["bench", "--model", Models.path("bert"), "--beam", "4"], 1, "encoder–decoders"),
    (["bench", "--model", model("t5"), "--cache-types", "f16"], 1, "for decoders"),
    (["translate", "--source-tokens", "1", "--model", Models.path("llama-tied")], 1, "encoder–decoder"),
  ])
  func whereItDoesNotBelong(arguments: [String], status: Int, words: String) throws {
    let result = try run(arguments)
    #expect(Int(result.status) == status && result.errors.contains(words), "\(result.errors)")
  }
}
