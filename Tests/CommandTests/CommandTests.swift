import Foundation
import Testing

/// Where commands are tried: on the reference, and on an OpenCL device where there is one.
private let places: [[String: String]] = {
  let devices = try? run("devices", "--format", "json", environment: [:]).json()["devices"] as? [Any]
  return [["FLASHCL_DEVICE": "cpu"]] + (devices?.isEmpty == false ? [["FLASHCL_DEVICE": "gpu"]] : [])
}()

private let noOpenCL = ["FLASHCL_OPENCL_LIBRARY": "/nonexistent"]

// MARK: - Text

@Suite struct GenerateTests {
  @Test(arguments: places) func everyFieldIsThere(place: [String: String]) throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    let arguments = ["generate", "--model", model, "--prompt", "The cat", "--max-tokens", "9"]
    let result = try run(arguments + ["--format", "json"], environment: place)
    #expect(result.status == 0)
    let json = try result.json()
    let prompt = try #require(json["prompt_tokens"] as? [Int])
    let tokens = try #require(json["tokens"] as? [Int])
    #expect(prompt == [54, 74, 71, 127, 67, 86])  // T h e Ġc a t
    #expect((1...9).contains(tokens.count))
    #expect(json["finish_reason"] as? String == (tokens.last == 2 ? "stop" : "length"))
    #expect((json["device"] as? String)?.isEmpty == false)
    let timings = try #require(json["timings"] as? [String: Any])
    for name in ["load_s", "prefill_s", "prefill_tokens_per_s", "decode_tokens_per_s"] {
      #expect((timings[name] as? Double ?? 0) > 0, "\(name)")
    }
    let memory = try #require(json["memory"] as? [String: Any])
    #expect(memory.keys.contains("device_peak_bytes"))
    if place["FLASHCL_DEVICE"] == "gpu" { #expect((memory["device_peak_bytes"] as? Int ?? 0) > 100_000) }

    // The text that people see is the continuation alone, and a line's end.
    let text = try run(arguments, environment: place)
    #expect(text.output == (json["text"] as? String ?? "") + "\n")
    let spelled = try run(
      "detokenize", "--model", model, "--ids", tokens.map { "\($0)" }.joined(separator: ","))
    #expect(spelled.output == text.output)
  }

  @Test(arguments: places) func theCacheHasTheTypeThatIsAskedFor(place: [String: String]) throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    func generate(_ type: String) throws -> Outcome {
      try run(
        ["generate", "--model", model, "--prompt", "a", "--max-tokens", "4", "--format", "json"]
          + ["--cache-type", type], environment: place)
    }
    func planned(_ result: Outcome) throws -> Int? {
      let memory = try result.json()["memory"] as? [String: Any]
      return (memory?["planned"] as? [String: Any])?["cache_bytes"] as? Int
    }
    let (wide, narrow) = (try generate("f32"), try generate("f16"))
    #expect(narrow.status == 0)
    if let bytes = try planned(wide) { #expect(try planned(narrow) ?? 0 < bytes) }
    // Its heads have eight elements.
    let refused = try generate("q8_0")
    #expect(refused.status == 1)
    #expect(refused.errors.contains("multiples of 32"))
  }

  /// Greedy: each token is the best of the logits that the tokens before it have.
  @Test func tokensAreTheBestOfTheLogits() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    let json = try run("generate", "--model", model, "--prompt", "a", "--max-tokens", "4", "--format", "json")
      .json()
    let prompt = try #require(json["prompt_tokens"] as? [Int])
    let tokens = try #require(json["tokens"] as? [Int])
    let all = (prompt + tokens).map { "\($0)" }.joined(separator: ",")
    try #expect(
      run("logits", "--model", model, "--tokens", all, "--output", scratch.path("l.npy")).status == 0)
    let logits = try FloatArray(scratch.path("l.npy"))
    for (step, token) in tokens.enumerated() {
      let row = Array(logits.row(prompt.count - 1 + step))
      #expect(row.indices.max { row[$0] < row[$1] } == token)
    }
  }

  @Test func aStopStringEndsTheTextBeforeItself() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    let arguments = ["generate", "--model", model, "--prompt", "a", "--max-tokens", "12", "--format", "json"]
    let whole = try #require(try run(arguments).json()["text"] as? String)
    let stop = String(whole.dropFirst(4).prefix(2))
    let json = try run(arguments + ["--stop", "never there", "--stop", stop]).json()
    let before = try #require(whole.range(of: stop)).lowerBound
    #expect(json["text"] as? String == String(whole[..<before]))
    #expect(json["finish_reason"] as? String == "stop")
  }

  @Test func withoutAPromptTheModelBegins() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    let json = try run("generate", "--model", model, "--max-tokens", "1", "--format", "json").json()
    #expect(json["prompt_tokens"] as? [Int] == [1])
    #expect((json["tokens"] as? [Int])?.count == 1)
    #expect((json["timings"] as? [String: Any])?["decode_tokens_per_s"] is NSNull)
  }

  @Test func theContextEndsGeneration() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    let json = try run(
      "generate", "--model", model, "--prompt", String(repeating: "z", count: 126), "--format", "json"
    ).json()
    let tokens = try #require(json["tokens"] as? [Int])
    #expect(tokens.count <= 3)
    let long = try run("generate", "--model", model, "--prompt", String(repeating: "z", count: 129))
    #expect(long.status == 1)
    #expect(long.errors.contains("129") && long.errors.contains("128"))
  }

  @Test func aSeedRepeatsARun() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    func tokens(_ seed: String) throws -> [Int] {
      let json = try run(
        "generate", "--model", model, "--prompt", "a", "--max-tokens", "10", "--temperature", "2", "--top-k",
        "100",
        "--top-p", "0.99", "--min-p", "0.001", "--repetition-penalty", "1.1", "--seed", seed, "--format",
        "json"
      ).json()
      return try #require(json["tokens"] as? [Int])
    }
    #expect(try tokens("7") == tokens("7"))
    #expect(try tokens("7") != tokens("8"))
  }

  @Test func aPromptMayBeginWithAMinus() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    let result = try run(
      "generate", "--model", model, "--prompt", "-hello", "--max-tokens", "1", "--format", "json")
    #expect(try result.json()["prompt_tokens"] as? [Int] == [15, 74, 71, 78, 78, 81])
  }
}

@Suite struct TokenizeTests {
  @Test func idsAndPieces() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    let json = try run("tokenize", "--model", model, "--text", "-a b\n", "--format", "json").json()
    #expect(json["ids"] as? [Int] == [15, 67, 126, 98])
    #expect(json["pieces"] as? [String] == ["-", "a", "Ġb", "Ċ"])
    let text = try run("tokenize", "--model", model, "--text", "-a b\n")
    #expect(text.output == "15\t-\n67\ta\n126\tĠb\n98\tĊ\n")
    let back = try run("detokenize", "--model", model, "--ids", "15,67,126,98", "--format", "json")
    #expect(try back.json()["text"] as? String == "-a b\n")
  }

  @Test func aFileIsReadByteForByte() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    try scratch.file("text", "a\nb\n\n").close()
    let json = try run("tokenize", "--model", model, "--file", scratch.path("text"), "--format", "json")
      .json()
    #expect(json["ids"] as? [Int] == [67, 98, 68, 98, 98])
  }

  @Test func nothingHasNoTokens() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    try scratch.file("empty").close()
    for source in [["--text", ""], ["--file", scratch.path("empty")]] {
      let result = try run(["tokenize", "--model", model, "--format", "json"] + source)
      #expect(result.status == 0)
      #expect(try result.json()["ids"] as? [Int] == [])
      #expect(try result.json()["pieces"] as? [String] == [])
      #expect(try run(["tokenize", "--model", model] + source).output == "")
    }
  }

  @Test func specialTokensOnlyWhereAskedFor() throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    let plain = try run("tokenize", "--model", model, "--text", "the catting", "--format", "json").json()
    #expect(plain["pieces"] as? [String] == ["the", "cat", "##t", "##ing"])
    let special = try run("tokenize", "--model", model, "--text", "the", "--special")
    #expect(special.output == "2\t[CLS]\n5\tthe\n3\t[SEP]\n")
    let ids = ["detokenize", "--model", model, "--ids", "2,5,3"]
    #expect(try run(ids).output == "the\n")
    #expect(try run(ids + ["--special"]).output.contains("[CLS]"))
  }

  @Test func noDeviceIsNeeded() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    let result = try run("tokenize", "--model", model, "--text", "a", environment: noOpenCL)
    #expect(result.status == 0 && result.errors == "" && result.output == "67\ta\n")
  }
}

// MARK: - Arrays

@Suite struct EmbedTests {
  @Test(arguments: places) func aFileOfLines(place: [String: String]) throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    // Only LF ends a line, and an empty line is the empty sentence.
    try scratch.file("lines", "the cat\n\n-dog\u{85}x\rthe\n").close()
    let (one, two) = (scratch.path("1.npy"), scratch.path("2.npy"))
    let first = try run(
      ["embed", "--model", model, "--file", scratch.path("lines"), "--output", one], environment: place)
    #expect(first.status == 0 && first.output == "")
    let sentences = ["--text", "the cat", "--text", "", "--text", "-dog\u{85}x\rthe"]
    let second = try run(["embed", "--model", model, "--output", two] + sentences, environment: place)
    #expect(second.status == 0)
    let vectors = try FloatArray(one)
    #expect(vectors.shape == [3, 48])
    #expect(try FloatArray(two).elements == vectors.elements)
    #expect(vectors.row(0) != vectors.row(1))
    #expect(try scratch.names() == ["1.npy", "2.npy", "bert", "lines"])
  }

  /// More lines than one batch: each row is what the sentence has alone.
  @Test func batchesKeepTheOrder() throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    let lines = (0..<37).map { String(repeating: "cat ", count: $0 % 5) + "\($0)" }
    try scratch.file("lines", lines.joined(separator: "\n")).close()
    try #expect(
      run("embed", "--model", model, "--file", scratch.path("lines"), "--output", scratch.path("all.npy"))
        .status == 0)
    let all = try FloatArray(scratch.path("all.npy"))
    #expect(all.shape == [37, 48])
    try #expect(
      run("embed", "--model", model, "--text", lines[34], lines[3], "--output", scratch.path("two.npy"))
        .status == 0)
    let two = try FloatArray(scratch.path("two.npy"))
    #expect(distance(two.row(0), all.row(34)) < 1e-5)
    #expect(distance(two.row(1), all.row(3)) < 1e-5)
  }

  /// A run that is killed leaves whole rows, which the next one keeps.
  @Test func anInterruptedRunGoesOn() throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    try scratch.file("lines", (0..<20).map { "cat \($0)\n" }.joined()).close()
    let arguments = ["embed", "--model", model, "--file", scratch.path("lines"), "--batch", "4", "--output"]
    try #expect(run(arguments + [scratch.path("whole.npy")]).status == 0)
    let whole = try FloatArray(scratch.path("whole.npy"))
    // A limit on a file's size, past which the kernel kills: some rows get through, and part of one.
    let limited =
      ["-c", "ulimit -f 3; \"$0\" \"$@\"; exit $?", flashcl.path] + arguments + [scratch.path("e.npy")]
    let cut = try run(limited, program: URL(fileURLWithPath: "/bin/sh")).status
    #expect(cut != 0)
    let partial = try #require(scratch.names().first { $0.hasPrefix("e.npy.") && $0.hasSuffix(".partial") })
    #expect(try !scratch.names().contains("e.npy"))
    let rest = try run(arguments + [scratch.path("e.npy"), "--resume"])
    #expect(rest.status == 0 && rest.errors.contains("going on after"), "\(rest.errors)")
    let again = try FloatArray(scratch.path("e.npy"))
    #expect(again.shape == whole.shape && again.elements == whole.elements)
    #expect(try !scratch.names().contains(partial))
    // Other lines are another file.
    try scratch.file("lines", "other\n").close()
    let other = try run(arguments + [scratch.path("e.npy"), "--resume"])
    #expect(other.status == 0 && other.errors.contains("nothing to go on with"))
    #expect(try FloatArray(scratch.path("e.npy")).shape == [1, 48])
  }

  /// Rows that a model of the same name and other weights left are not gone on with.
  @Test func anotherModelBeginsAnew() throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    try scratch.file("lines", (0..<20).map { "cat \($0)\n" }.joined()).close()
    let arguments = [
      "embed", "--model", model, "--file", scratch.path("lines"), "--batch", "4", "--output",
      scratch.path("e.npy"),
    ]
    let limited = ["-c", "ulimit -f 3; \"$0\" \"$@\"; exit $?", flashcl.path] + arguments
    try #expect(run(limited, program: URL(fileURLWithPath: "/bin/sh")).status != 0)
    let weights = URL(fileURLWithPath: model + "/model.safetensors")
    try Data(contentsOf: weights).write(to: weights)
    let again = try run(arguments + ["--resume"])
    #expect(again.status == 0 && again.errors.contains("nothing to go on with"), "\(again.errors)")
  }

  /// `--format npy` on standard output holds what the other forms say.
  @Test func arraysOnStandardOutput() throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    func array(_ arguments: [String]) throws -> FloatArray {
      let file = try scratch.file("out.npy")
      let result = try run(arguments + ["--model", model, "--format", "npy"], output: file)
      #expect(result.status == 0, "\(result.errors)")
      return try FloatArray(scratch.path("out.npy"))
    }
    let text = ["embed", "--text", "the cat", "a dog", "x"]
    let json = try run(text + ["--model", model, "--format", "json"]).json()
    let rows = try #require(json["embeddings"] as? [[Double]])
    let embedded = try array(text)
    #expect(embedded.shape == [3, 48])
    #expect(distance(embedded.elements, rows.joined().map { Float($0) }) < 1e-6)

    let tokens = ["logits", "--tokens", "2,7,3"]
    try #expect(run(tokens + ["--model", model, "--output", scratch.path("l.npy")]).status == 0)
    let (written, printed) = (try FloatArray(scratch.path("l.npy")), try array(tokens))
    #expect(printed.shape == written.shape && printed.elements == written.elements)
    let logits = try run(tokens + ["--model", model, "--format", "json"]).json()
    let numbers = try #require(logits["logits"] as? [[Double]])
    #expect(distance(written.elements, numbers.joined().map { Float($0) }) < 1e-6)
    #expect(logits["shape"] as? [Int] == written.shape)
    let lines = try run(tokens + ["--model", model]).output.split(separator: "\n")
    let best = written.row(1).indices.max { written.elements[$0] < written.elements[$1] } ?? 0
    #expect(lines.count == 3 && lines[1].hasPrefix("1\t7\t\(best - written.shape[1]): "), "\(lines)")
  }

  @Test func cutLinesAreCounted() throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    try scratch.file("lines", "cat\n" + String(repeating: "cat ", count: 300) + "\n").close()
    let result = try run(
      "embed", "--model", model, "--file", scratch.path("lines"), "--output", scratch.path("e.npy"),
      "--pooling", "cls")
    #expect(
      result.status == 0 && result.errors.contains("1 line was cut to the model's 64 tokens"),
      "\(result.errors)")
  }

  @Test(arguments: places) func search(place: [String: String]) throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    let (lines, index) = (scratch.path("lines"), scratch.path("e.npy"))
    try scratch.file("lines", "a dog\nthe cat\nx y z\nthe cat\n").close()
    try #expect(
      run(["embed", "--model", model, "--file", lines, "--output", index], environment: place).status == 0)
    let arguments = ["search", "--model", model, "--index", index, "--texts", lines]
    let result = try run(
      arguments + ["--query", "the cat", "--query", "x y z", "--top", "2", "--format", "json"],
      environment: place)
    #expect(result.status == 0, "\(result.errors)")
    let queries = try #require(try result.json()["queries"] as? [[String: Any]])
    let matches = queries.compactMap { $0["matches"] as? [[String: Any]] }
    #expect(matches[0].compactMap { $0["line"] as? Int } == [2, 4])
    #expect(matches[0].compactMap { $0["text"] as? String } == ["the cat", "the cat"])
    #expect(matches[1].first?["line"] as? Int == 3)
    #expect(abs((matches[1].first?["similarity"] as? Double ?? 0) - 1) < 1e-5)
    let text = try run(arguments + ["--query", "the cat", "--top", "9"], environment: place)
    #expect(text.output.split(separator: "\n").count == 4)

    try scratch.file("other", "one\n").close()
    let wrong = try run(
      ["search", "--model", model, "--index", index, "--texts", scratch.path("other"), "--query", "a"],
      environment: place)
    #expect(wrong.status == 1 && wrong.errors.contains("do not belong together"))
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
      .padding(toLength: 117, withPad: " ", startingAt: 0)
    let bytes =
      [0x93] + "NUMPY".utf8 + [1, 0, 118, 0] + header.utf8 + [10] + [UInt8](repeating: 0, count: 24)
    try Data(bytes).write(to: URL(fileURLWithPath: scratch.path("narrow.npy")))
    let narrow = try run(
      ["search", "--model", model, "--index", scratch.path("narrow.npy"), "--query", "a"], environment: place)
    #expect(narrow.status == 1 && narrow.errors.contains("rows of 3 numbers"))
    #expect(try run(arguments + ["--query", "a", "--top", "0"]).status == 2)
  }

  @Test func similaritiesWithoutAFile() throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    let arguments = [
      "embed", "--model", model, "--text", "-the cat", "--text", "the dog", "--text", "-the cat",
    ]
    let json = try run(arguments + ["--format", "json"]).json()
    #expect(json["width"] as? Int == 48)
    #expect((json["device"] as? String)?.isEmpty == false)
    #expect((json["embeddings"] as? [[Double]])?.map(\.count) == [48, 48, 48])
    let similarities = try #require(json["similarities"] as? [[Double]])
    #expect(abs(similarities[0][0] - 1) < 1e-6 && abs(similarities[0][2] - 1) < 1e-6)
    #expect(similarities[0][1] < 0.9999 && similarities[0][1] == similarities[1][0])
    let table = try run(arguments).output.split(separator: "\n")
    #expect(table.count == 4)
    #expect(table[1].contains("1.000") && table[1].hasSuffix("-the cat"))
    let many = try run(["embed", "--model", model] + (0..<13).flatMap { ["--text", "\($0)"] })
    #expect(many.status == 2 && many.errors.contains("--output"))
  }
}

@Suite struct LogitsTests {
  private static let models = [
    "llama-tied", "llama-untied", "gpt2", "bert", "llama-gguf/model.gguf", "gpt2-gguf/model.gguf",
    "llama-quantised/model.gguf",
  ]

  /// An encoder's hidden states, of exactly the ids that are given.
  @Test(arguments: places) func hiddenStates(place: [String: String]) throws {
    let scratch = try Scratch()
    let folder = Models.path("encoders/distilbert-token")
    let truth = try FloatArray(folder + "/hidden.npy")
    let ids = "11,21,26,0,15,60,14,41,7,18,19,26,18"  // the first sequence of the fixture
    let arguments = ["logits", "--model", folder, "--tokens", ids, "--output", scratch.path("h.npy")]
    let result = try run(arguments + ["--hidden"], environment: place)
    #expect(result.status == 0, "\(result.errors)")
    let hidden = try FloatArray(scratch.path("h.npy"))
    #expect(hidden.shape == [13, 36])
    #expect(distance(hidden.elements, truth.elements[..<(13 * 36)]) < 1e-4)
    let refused = try run(arguments, environment: place)
    #expect(refused.status == 1 && refused.errors.contains("--hidden"))
    // A decoder's states are there too.
    let gpt2 = try run(
      [
        "logits", "--model", Models.path("gpt2"), "--tokens", "1,2,3", "--hidden", "--output",
        scratch.path("g.npy"),
      ],
      environment: place)
    #expect(gpt2.status == 0)
    #expect(try FloatArray(scratch.path("g.npy")).shape.first == 3)
  }

  /// The logits of the `transformers` package for the same ids.
  @Test(arguments: models, places) func agreeWithTransformers(model: String, place: [String: String]) throws {
    let scratch = try Scratch()
    let folder = Models.folder.appendingPathComponent(String(model.split(separator: "/")[0])).path
    let truth = try FloatArray(folder + "/logits.npy")
    let tokens = try Data(contentsOf: URL(fileURLWithPath: folder + "/tokens.npy")).suffix(4 * truth.shape[0])
    let ids = [UInt8](tokens).withUnsafeBytes { data in
      (0..<truth.shape[0]).map { "\(data.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))" }
    }
    let result = try run(
      [
        "logits", "--model", Models.path(model), "--tokens", ids.joined(separator: ","), "--output",
        scratch.path("l.npy"),
      ], environment: place)
    #expect(result.status == 0, "\(result.errors)")
    let logits = try FloatArray(scratch.path("l.npy"))
    #expect(logits.shape == truth.shape)
    #expect(distance(logits.elements, truth.elements) < 1e-3)
    #expect(try scratch.names() == ["l.npy"])
  }

  @Test func anIDPastTheVocabularyIsNamedWithItsSize() throws {
    let scratch = try Scratch()
    for (ids, named) in [("1,151", "151"), ("-1", "-1"), ("3,99999999999,1", "99999999999")] {
      let result = try run(
        "logits", "--model", Models.path("llama-tied"), "--tokens", ids, "--output", scratch.path("l.npy"))
      #expect(result.status == 1)
      #expect(result.errors == "flashcl: token id \(named) is outside the model's vocabulary of 151\n")
    }
    #expect(try scratch.names() == [])
  }

  /// A disk that takes 4 KiB of the file's 5: an error, the older file untouched, and nothing left beside it.
  @Test func aFullDiskLeavesNothing() throws {
    let scratch = try Scratch()
    try scratch.file("l.npy", "older").close()
    let command = [
      flashcl.path, "logits", "--model", Models.path("llama-tied"), "--tokens", "1,2,3,4,5,6,7,8", "--output",
      scratch.path("l.npy"),
    ]
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$@\""
    let result = try run(["-c", limited, "sh"] + command, program: URL(fileURLWithPath: "/bin/sh"))
    #expect(result.status == 1)
    #expect(result.errors.contains("l.npy") && result.errors.split(separator: "\n").count == 1)
    #expect(try String(contentsOfFile: scratch.path("l.npy"), encoding: .utf8) == "older")
    #expect(try scratch.names() == ["l.npy"])
  }
}

// MARK: - Looking

@Suite struct InspectTests {
  @Test(arguments: [("llama-tied", "LlamaForCausalLM"), ("llama-quantised/model.gguf", "llama")])
  func whatAModelHolds(model: String, architecture: String) throws {
    let json = try run("inspect", Models.path(model), "--format", "json").json()
    #expect(json["architecture"] as? String == architecture)
    #expect(json["unsupported"] as? [String] == [])
    let tensors = try #require(json["tensors"] as? [[String: Any]])
    #expect(tensors.count > 20)
    #expect(tensors.allSatisfy { $0["name"] is String && $0["shape"] is [Int] && $0["type"] is String })
    let elements = tensors.reduce(0) { $0 + ($1["shape"] as? [Int] ?? []).reduce(1, *) }
    #expect(json["parameters"] as? Int == elements)
    #expect((json["metadata"] as? [String: Any])?.isEmpty == false)
    let text = try run("inspect", Models.path(model))
    #expect(text.status == 0 && text.output.contains(architecture))
    for tensor in tensors { #expect(text.output.contains(tensor["name"] as? String ?? "?")) }
  }

  @Test func whatIsNotSupportedAndWhy() throws {
    let file = Models.folder.deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("FlashCLFilesTests/Fixtures/unsupported.gguf").path
    let result = try run("inspect", file, "--format", "json")
    #expect(result.status == 0)
    let reasons = try #require(try result.json()["unsupported"] as? [String])
    #expect(reasons.contains { $0.contains("IQ4_XS") })
    #expect(reasons.contains { $0.contains("the architecture 'fixture'") })
  }

  /// The tokenizer's files are never opened: a broken one changes nothing.
  @Test func noTokenizerIsOpened() throws {
    let scratch = try Scratch()
    let model = try Models.llama(in: scratch)
    try Data("{".utf8).write(to: URL(fileURLWithPath: model + "/tokenizer.json"))
    #expect(try run("inspect", model).status == 0)
    let logits = try run("logits", "--model", model, "--tokens", "1", "--output", scratch.path("l.npy"))
    #expect(logits.status == 0)
    #expect(try run("tokenize", "--model", model, "--text", "a").status == 1)
  }
}

@Suite struct DeviceTests {
  @Test func withoutOpenCLThereIsASentence() throws {
    let text = try run("devices", environment: noOpenCL)
    #expect(text.status == 0)
    #expect(text.output.contains("no OpenCL") && text.output.contains("apt install"))
    let json = try run("devices", "--format", "json", environment: noOpenCL)
    #expect(json.status == 0)
    #expect((try json.json()["devices"] as? [Any])?.isEmpty == true)
    #expect((try json.json()["problem"] as? String)?.contains("apt install") == true)
  }

  @Test func withoutAPlatformThereIsASentence() throws {
    let scratch = try Scratch()
    let text = try run("devices", environment: ["OCL_ICD_VENDORS": scratch.folder.path])
    #expect(text.status == 0)
    #expect(text.output.contains("no OpenCL"))
  }

  @Test func everyDeviceHasItsFields() throws {
    let json = try run("devices", "--format", "json", environment: [:]).json()
    for device in json["devices"] as? [[String: Any]] ?? [] {
      for name in ["id", "name", "kind", "platform", "version", "driver_version"] {
        #expect((device[name] as? String)?.isEmpty == false, "\(name)")
      }
      #expect((device["global_memory_bytes"] as? Int ?? 0) > 0)
      #expect(device["capabilities"] is [String: Any] && device["quirks"] is [Any])
    }
  }

  /// Without a device: the default falls back and says so in one line; a wish is an error that says what to install.
  @Test func choosing() throws {
    let scratch = try Scratch()
    let arguments = [
      "logits", "--model", Models.path("llama-tied"), "--tokens", "1", "--output", scratch.path("l.npy"),
    ]
    let fallback = try run(arguments, environment: noOpenCL)
    #expect(fallback.status == 0)
    #expect(fallback.errors.hasPrefix("flashcl: ") && fallback.errors.split(separator: "\n").count == 1)
    for environment in [noOpenCL, noOpenCL.merging(["FLASHCL_DEVICE": "cpu"]) { $1 }] {
      let wish = try run(arguments + ["--device", "gpu"], environment: environment)
      #expect(wish.status == 1)
      #expect(wish.errors.contains("apt install"))
    }
    let byEnvironment = try run(arguments, environment: noOpenCL.merging(["FLASHCL_DEVICE": "gpu"]) { $1 })
    #expect(byEnvironment.status == 1)
    let cpu = try run(arguments + ["--device", "cpu"], environment: ["FLASHCL_DEVICE": "no such device"])
    #expect(cpu.status == 0 && cpu.errors == "")
  }

  @Test(.enabled(if: places.count > 1)) func aNameThatNoDeviceHasListsWhatThereIs() throws {
    let result = try run("check", "top_k", "--device", "no such device")
    let names = try run("devices", "--format", "json").json()["devices"] as? [[String: Any]] ?? []
    #expect(result.status == 1)
    for device in names { #expect(result.errors.contains(device["name"] as? String ?? "?")) }
  }
}

// MARK: - Proving and timing

@Suite struct CheckTests {
  /// What KernelTests leaves out.
  @Test(.enabled(if: places.count > 1)) func attentionByTheStrategiesOfGPUs() throws {
    for strategy in ["split", "tiled"] {
      let result = try run(
        "check", "attention\\(strategy=\(strategy),", "--format", "json",
        environment: ["FLASHCL_DEVICE": "gpu"])
      let json = try result.json()
      #expect(
        result.status == 0 && json["failed"] as? Int == 0, "\(result.errors)\(result.output.suffix(2000))")
      #expect((json["passed"] as? Int ?? 0) > 60)
    }
  }

  @Test(arguments: places) func everyFieldIsThere(place: [String: String]) throws {
    let result = try run(
      ["check", "^silu_multiply.*type=f32.*width=33,", "--format", "json"], environment: place)
    #expect(result.status == 0)
    let json = try result.json()
    #expect((json["device"] as? String)?.isEmpty == false)
    let results = try #require(json["results"] as? [[String: Any]])
    #expect(!results.isEmpty)
    for result in results {
      #expect((result["case"] as? String)?.hasPrefix("silu_multiply(strategy=") == true)
      #expect(result["operation"] as? String == "silu_multiply" && result["type"] as? String == "f32")
      #expect(result["outcome"] as? String == "passed" && result["strategy"] is String)
      #expect(result["reason"] is NSNull && result["error"] is Double && result["tolerance"] is Double)
    }
    // A case's name is the filter that repeats it.
    let name = try #require(results[0]["case"] as? String)
    #expect(try run(["check", name, "--list"], environment: place).output == name + "\n")
    let text = try run(["check", name], environment: place)
    #expect(text.status == 0)
    #expect(text.output.contains("silu_multiply") && text.output.contains("1 case passed, 0 failed"))
  }

  /// `rope` is an operation, and a parameter of another one's cases.
  @Test func anOperationsNameMeansItsCasesAlone() throws {
    let names = try run("check", "rope", "--list").output.split(separator: "\n")
    #expect(!names.isEmpty && names.allSatisfy { $0.hasPrefix("rope(") })
  }

  @Test func aFilterThatMatchesNothingIsAnError() throws {
    for filter in ["nothing is called so", "("] {
      let result = try run("check", filter)
      #expect(result.status == 1 && result.output == "")
      #expect(result.errors.hasPrefix("flashcl: ") && result.errors.split(separator: "\n").count == 1)
    }
  }

  @Test func coverage() throws {
    let rows = try #require(
      try run("check", "--coverage", "--format", "json").json()["coverage"] as? [[String: Any]])
    #expect(
      Set(rows.compactMap { $0["operation"] as? String }).isSuperset(of: ["linear", "attention", "top_k"]))
  }

  @Test(.enabled(if: places.count > 1)) func allDevicesMakeAList() throws {
    let result = try run("check", "^top_k.*cols=31,", "--device", "all", "--format", "json")
    #expect(result.status == 0)
    let reports = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [[String: Any]]
    #expect(reports?.isEmpty == false && reports?.allSatisfy { $0["results"] is [Any] } == true)
  }

  @Test(arguments: ["llama-quantised/model.gguf", "gpt2", "bert"], places)
  func aModelLayerByLayer(model: String, place: [String: String]) throws {
    let arguments = ["check", "--model", Models.path(model), "--tokens", "1,2,3,4,5"]
    let result = try run(arguments + ["--format", "json"], environment: place)
    #expect(result.status == 0)
    let json = try result.json()
    let layers = try #require(json["layers"] as? [[String: Any]])
    let names = layers.filter { $0["phase"] as? String == "prefill" }.compactMap { $0["layer"] as? String }
    #expect(names.starts(with: ["embedding", "layer 0", "layer 1", "layer 2"]))
    #expect(layers.allSatisfy { ($0["error"] as? Double ?? 1) < 1e-4 })
    #expect(json["departs"] is NSNull)
    #expect(try run(arguments, environment: place).output.contains("agree"))
  }

  /// Both stacks, and the decoder's two phases; where the context has no room for a step more, one.
  @Test(arguments: ["bart", "marian-two", "t5", "transformer-residual"], places)
  func anEncoderDecoderLayerByLayer(model: String, place: [String: String]) throws {
    let path = Models.path("seq2seq/\(model)")
    let result = try run(
      ["check", "--model", path, "--tokens", "1,2,3,4,5", "--format", "json"], environment: place)
    #expect(result.status == 0, "\(result.errors)")
    let layers = try #require(try result.json()["layers"] as? [[String: Any]])
    let decoder = ["decoder embedding", "decoder layer 0", "decoder layer 1", "logits"]
    let encoder = ["encoder embedding", "encoder layer 0", "encoder layer 1"]
    #expect(layers.compactMap { $0["layer"] as? String } == encoder + decoder + decoder)
    #expect(layers.suffix(4).allSatisfy { $0["phase"] as? String == "decode" })
    #expect(layers.allSatisfy { ($0["error"] as? Double ?? 1) < 1e-4 })
    guard model == "bart" else { return }
    let full = (1...40).map { "\($0)" }.joined(separator: ",")
    let text = try run(["check", "--model", path, "--tokens", full], environment: place)
    #expect(text.output.contains("encoder embedding  ") && text.output.contains("7 layers agree"))
    let over = try run(["check", "--model", path, "--tokens", full + ",41"], environment: place)
    #expect(over.status == 1 && over.errors.contains("41 ") && over.errors.contains("40"))
  }
}

@Suite struct BenchTests {
  @Test(arguments: places) func everyFieldIsThere(place: [String: String]) throws {
    let scratch = try Scratch()
    let path = scratch.path("b.json")
    let result = try run(["bench", "^silu_multiply.*rows=1,", "--output", path], environment: place)
    #expect(result.status == 0)
    #expect(result.output.contains("silu_multiply"))
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    let json = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect(json["device"] is String && json["revision"] is String)
    if place["FLASHCL_DEVICE"] == "gpu" {
      let ceilings = try #require(json["ceilings"] as? [String: Any])
      #expect((ceilings["copy_gbytes_per_s"] as? Double ?? 0) > 0 && (ceilings["gflops"] as? Double ?? 0) > 0)
    }
    let results = try #require(json["results"] as? [[String: Any]])
    #expect(results.count { $0["chosen"] as? Bool == true } == 1)
    for result in results {
      #expect(result["operation"] as? String == "silu_multiply" && result["strategy"] is String)
      #expect((result["parameters"] as? [String: Any])?["rows"] as? Int == 1)
      for name in ["median_s", "spread", "gflops", "gbytes_per_s"] {
        #expect((result[name] as? Double ?? -1) >= 0, "\(name)")
      }
      #expect(result.keys.contains("device_s") && result.keys.contains("fraction_of_ceiling"))
    }
    #expect(try scratch.names() == ["b.json"])
  }

  @Test(arguments: places) func aModelAtSeveralLengths(place: [String: String]) throws {
    let result = try run(
      [
        "bench", "run", "--model", Models.path("llama-quantised/model.gguf"), "--prompt-lengths", "3,17",
        "--decode",
        "4", "--format", "json",
      ], environment: place)
    #expect(result.status == 0)
    let results = try #require(try result.json()["results"] as? [[String: Any]])
    #expect(results.compactMap { $0["prompt_tokens"] as? Int } == [3, 17])
    for result in results {
      #expect(
        (result["prefill_tokens_per_s"] as? Double ?? 0) > 0
          && (result["decode_tokens_per_s"] as? Double ?? 0) > 0)
      // Only a device's memory has a rate to be compared with.
      for name in ["decode_launches", "decode_gbytes_per_s", "decode_fraction_of_copy"] {
        #expect((result[name] as? Double ?? 0 > 0) == (place["FLASHCL_DEVICE"] == "gpu"), "\(name)")
      }
    }
    let long = try run("bench", "--model", Models.path("bert"), "--prompt-lengths", "65")
    #expect(long.status == 1 && long.errors.contains("64"))
  }
}

// MARK: - Usage

@Suite struct UsageTests {
  private static let model = Models.path("llama-tied")

  @Test(arguments: [
    ["frobnicate"], ["generate"], ["generate", "--model"], ["generate", "--model", model, "--prompt", ""],
    ["generate", "--model", model, "--max-tokens", "0"],
    ["generate", "--model", model, "--max-tokens", "-3"],
    ["generate", "--model", model, "--max-tokens", "many"],
    ["generate", "--model", model, "--cache-type", "q4_0"],
    ["generate", "--model", model, "--temperature", "-1"],
    ["generate", "--model", model, "--temperature", "nan"], ["generate", "--model", model, "--top-p", "2"],
    ["generate", "--model", model, "--top-k", "0"], ["generate", "--model", model, "--min-p", "-0.1"],
    ["generate", "--model", model, "--repetition-penalty", "0"],
    ["generate", "--model", model, "--seed", "-1"],
    ["generate", "--model", model, "--stop", ""], ["generate", "--model", model, "--format", "xml"],
    ["generate", "--model", model, "--unknown"], ["generate", "--model", model, "positional"],
    ["logits", "--model", model, "--tokens", "1,x", "--output", "l.npy"],
    ["logits", "--model", model, "--tokens", "", "--output", "l.npy"],
    ["logits", "--model", model, "--tokens", "1,", "--output", "l.npy"],
    ["embed", "--model", model], ["embed", "--model", model, "--text", "a", "--file", "b"],
    ["tokenize", "--model", model], ["tokenize", "--model", model, "--text", "a", "--file", "b"],
    ["detokenize", "--model", model, "--ids", "1;2"], ["inspect"], ["devices", "more"],
    ["check", "--model", model], ["check", "--tokens", "1"], ["check", "--list", "--coverage"],
    ["bench", "linear", "--model", model], ["bench", "--decode", "3"],
    ["bench", "--model", model, "--prompt-lengths", "0"],
  ])
  func badUsageIsOneLineAndStatus2(arguments: [String]) throws {
    let result = try run(arguments)
    #expect(result.status == 2)
    #expect(result.output == "")
    #expect(result.errors.hasPrefix("flashcl: ") && result.errors.hasSuffix("--help'\n"), "\(result.errors)")
    #expect(result.errors.split(separator: "\n").count == 1)
  }

  @Test(arguments: [
    ["generate", "--model", "/nonexistent", "--prompt", "a"],
    ["generate", "--model", model, "--prompt", "a"],
    ["generate", "--model", Models.path("bert"), "--prompt", "a"], ["inspect", "/nonexistent"],
    ["logits", "--model", model, "--tokens", "1", "--output", "/nonexistent/l.npy"],
    ["embed", "--model", model, "--text", "a"], ["tokenize", "--model", model, "--file", "/nonexistent"],
    ["bench", "nothing is called so"], ["bench", "run", "nothing is called so"],
  ])
  func failureIsOneLineAndStatus1(arguments: [String]) throws {
    let result = try run(arguments)
    #expect(result.status == 1)
    #expect(result.output == "")
    #expect(result.errors.hasPrefix("flashcl: ") && result.errors.split(separator: "\n").count == 1)
  }

  @Test func help() throws {
    let all = try run("--help")
    #expect(all.status == 0 && all.errors == "")
    for name in [
      "generate", "embed", "logits", "tokenize", "detokenize", "inspect", "devices", "check", "bench",
    ] {
      #expect(all.output.contains("\n  \(name) "))
      let one = try run(name, "--help")
      #expect(one.status == 0 && one.output.contains("Example: flashcl \(name)"))
    }
    #expect(try run("bench", "run", "--help").output.contains("--prompt-lengths"))
    #expect(try run("--version").status == 0)
  }

  @Test func aClosedPipeEndsQuietly() throws {
    let pipe = Pipe()
    try pipe.fileHandleForReading.close()
    let result = try run(["check", "--list"], output: pipe.fileHandleForWriting)
    #expect(result.status == 0 && result.errors == "")
  }

  @Test(.enabled(if: FileManager.default.fileExists(atPath: "/dev/full")))
  func aFullStandardOutputIsAnError() throws {
    let full = try #require(FileHandle(forWritingAtPath: "/dev/full"))
    let result = try run(["check", "--list"], output: full)
    #expect(result.status == 1 && result.errors.contains("standard output"))
  }
}
