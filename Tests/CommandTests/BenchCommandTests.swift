import Foundation
import FoundationXML
import Testing

private let devices: [String] = {
  let devices = try? run("devices", "--format", "json", environment: [:]).json()["devices"] as? [Any]
  return devices?.isEmpty == false ? ["gpu"] : []
}()

/// True where text is well-formed XML; counts elements by name.
private final class Elements: NSObject, XMLParserDelegate {
  private(set) var counts: [String: Int] = [:]
  private(set) var words = ""

  init?(_ path: String) {
    super.init()
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: path)) else { return nil }
    let parser = XMLParser(data: data)
    parser.delegate = self
    guard parser.parse() else { return nil }
  }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
    attributes: [String: String]
  ) {
    counts[name, default: 0] += 1
  }

  func parser(_ parser: XMLParser, foundCharacters text: String) { words += text }
}

@Suite struct SweepCommandTests {
  @Test func jsonCSVAndPlots() throws {
    let scratch = try Scratch()
    let arguments = ["bench", "rms_norm", "--sweep", "rows=1|2|4,cols=8|16,type=f32"]
    let result = try run(
      arguments + [
        "--format", "json", "--plot", scratch.path("p.svg"), "--roofline", scratch.path("r.svg"), "--output",
        scratch.path("b.json"),
      ])
    #expect(result.status == 0, "\(result.errors)")
    let json = try result.json()
    #expect(json["sweep"] as? String == "rows=1|2|4,cols=8|16,type=f32")
    let results = try #require(json["results"] as? [[String: Any]])
    #expect(results.count == 6)
    for (row, sizes) in zip(results, [(1, 8), (1, 16), (2, 8), (2, 16), (4, 8), (4, 16)]) {
      let parameters = try #require(row["parameters"] as? [String: Any])
      #expect(parameters["rows"] as? Int == sizes.0 && parameters["cols"] as? Int == sizes.1)
      #expect(row["runs"] as? Int ?? 0 > 0 && row["chosen"] as? Bool == true)
    }
    let plot = try #require(Elements(scratch.path("p.svg")))
    // Two panels with a line of three points each, and the legend's.
    #expect(plot.counts["circle"] == 2 * 3 + 1)
    for word in ["rms_norm", "cols 8", "cols 16", "rows"] { #expect(plot.words.contains(word), "\(word)") }
    #expect(plot.words.contains("GB/s") || plot.words.contains("GFLOP/s"))
    #expect(Elements(scratch.path("r.svg"))?.words.contains("operations per byte") == true)
    #expect(try scratch.names() == ["b.json", "p.svg", "r.svg"])

    let csv = try run(arguments + ["--format", "csv"])
    let lines = csv.output.components(separatedBy: "\r\n")
    #expect(lines.count == 8 && lines[0].hasPrefix("operation,strategy,chosen,cols,"))
    #expect(lines[1].hasPrefix("rms_norm,reference,true,8,"))
    #expect(Set(lines.dropLast().map { $0.split(separator: ",").count }).count <= 2)
  }

  @Test(arguments: [
    (["rms_norm", "--sweep", "rows=9:3:x2"], "empty"),
    (["rms_norm", "--sweep", "depth=1"], "no key 'depth'"),
    (["--sweep", "rows=1"], "needs an operation"), (["nothing", "--sweep", "rows=1"], "no sweep"),
    (["rms_norm", "--plot", "p.svg"], "--sweep"),
    (["rms_norm", "--sweep", "rows=1", "--plot", "p.svg"], "two or more"),
    (["rms_norm", "--sweep", "rows=1|2,cols=1:17:+1", "--plot", "p.svg"], "panels"),
    (["--model-shape", "frobnicate"], "smollm2-135m"), (["--model-shape", "gpt2:q8_0"], "gpt2"),
    (["--model-shape", "gpt2", "--model", "x"], "not both"), (["--model", "x", "--batch", "0"], "sequences"),
    (["--model", "x", "--cache-types", "q4_0"], "q4_0"), (["--batch", "2"], "--model"),
    (["--cache-lengths", "2"], "--model"),
    (["--model", "x", "--cache-lengths", "8", "--decode", "0"], "--decode"),
    (["--model", "x", "--sweep", "rows=1"], "--sweep"), (["rms_norm", "--patience", "0"], "--patience"),
    (["claims", "frobnicate"], "quadratic"), (["claims", "rwkv"], "not built"), (["compare", "a"], "new"),
    (["compare", "a", "b", "--threshold", "-1"], "--threshold"),
  ])
  func badUsage(arguments: [String], reason: String) throws {
    let result = try run(["bench"] + arguments)
    #expect(result.status == 2 && result.output == "")
    #expect(
      result.errors.contains(reason) && result.errors.split(separator: "\n").count == 1, "\(result.errors)")
  }

  @Test(arguments: [
    (["attention", "--sweep", "N=1000000,H=64"], "GiB"),
    (["rms_norm", "--sweep", "rows=16777216,cols=16777216"], "memory"),
    (["rms_norm", "--sweep", "rows=1|2", "--plot", "/nonexistent/p.svg"], "/nonexistent/p.svg"),
    (["claims"], "OpenCL device"),
    (["--model", Models.path("gpt2"), "--cache-lengths", "64"], "context of 64"),
    (["--model", Models.path("bert"), "--cache-types", "f16"], "for decoders"),
  ])
  func refused(arguments: [String], reason: String) throws {
    let result = try run(["bench"] + arguments)
    #expect(result.status == 1 && result.output == "")
    #expect(
      result.errors.contains(reason) && result.errors.split(separator: "\n").count == 1, "\(result.errors)")
  }

  @Test func aPNGNeedsItsProgram() throws {
    let scratch = try Scratch()
    let result = try run(
      ["bench", "rms_norm", "--sweep", "rows=1|2", "--plot", scratch.path("p.png")],
      environment: ["FLASHCL_DEVICE": "cpu", "PATH": scratch.folder.path])
    #expect(result.status == 1 && result.errors.contains("rsvg-convert"))
    #expect(try scratch.names() == [])
  }

  @Test func anEncoderInBatches() throws {
    let result = try run(
      "bench", "--model", Models.path("bert"), "--prompt-lengths", "3,5", "--batch", "1,2", "--format", "json"
    )
    let results = try #require(try result.json()["results"] as? [[String: Any]])
    #expect(results.compactMap { $0["batch"] as? Int } == [1, 2, 1, 2])
    #expect(results.allSatisfy { $0["cache_type"] is NSNull })
  }

  @Test func aDecoderInBatchesAndAfterACache() throws {
    let result = try run(
      "bench", "--model", Models.path("gpt2"), "--prompt-lengths", "3", "--cache-lengths", "20", "--batch",
      "1,3",
      "--decode", "4", "--format", "json")
    let results = try #require(try result.json()["results"] as? [[String: Any]])
    #expect(results.compactMap { $0["batch"] as? Int } == [1, 3, 1, 3])
    #expect(results.compactMap { $0["prompt_tokens"] as? Int } == [3, 3, 20, 20])
    #expect(results.map { $0["prefill_s"] is NSNull } == [false, false, true, true])
    #expect(results.allSatisfy { $0["decode_tokens"] as? Int == 4 })
  }

  /// Greedy and beam search of the same sources, equal and unequal, and what one step costs over the other.
  @Test(arguments: ["cpu"] + devices) func anEncoderDecoderWithBeams(device: String) throws {
    let scratch = try Scratch()
    let common = ["bench", "--model", Models.path("seq2seq/t5"), "--prompt-lengths", "3,2:9", "--batch", "2"]
    let result = try run(
      common + ["--decode", "3", "--beam", "3", "--format", "json", "--plot", scratch.path("b.svg")],
      environment: ["FLASHCL_DEVICE": device])
    #expect(result.status == 0, "\(result.errors)")
    let results = try #require(try result.json()["results"] as? [[String: Any]])
    #expect(results.compactMap { $0["prompt_tokens"] as? Int } == [3, 9])
    #expect(results.compactMap { $0["prompt_tokens_least"] as? Int } == [3, 2])
    for row in results {
      #expect(row["beam"] as? Int == 3 && row["decode_tokens"] as? Int == 3)
      for name in ["prefill_s", "greedy_step_s", "beam_step_s", "beam_ratio", "decode_tokens_per_s"] {
        #expect(row[name] as? Double ?? 0 > 0, "\(name)")
      }
    }
    #expect(Elements(scratch.path("b.svg"))?.words.contains("3 beams") == true)
    guard device == "cpu" else { return }
    let greedy = try run(
      common + ["--decode", "2", "--beam", "1"], environment: ["FLASHCL_DEVICE": device])
    #expect(greedy.output.contains("greedy ms") && !greedy.output.contains("ratio"))
    let encoding = try run(
      common + ["--decode", "0", "--format", "csv"], environment: ["FLASHCL_DEVICE": device])
    #expect(encoding.output.contains(",2:9,2,,"))
  }

  /// From texts on, which are cut into batches; their tokens count.
  @Test func aSentenceEncoderWithTexts() throws {
    let scratch = try Scratch()
    let model = try Models.bert(in: scratch)
    try scratch.file("lines", "the cat\n\nthe\n").close()
    let result = try run(
      "bench", "--model", model, "--texts", scratch.path("lines"), "--batch", "2", "--format", "json")
    let results = try #require(try result.json()["results"] as? [[String: Any]])
    #expect(results.count == 1 && results[0]["batch"] as? Int == 2)
    #expect(results[0]["prompt_tokens"] as? Int == 4 && results[0]["prompt_tokens_least"] as? Int == 2)
    try scratch.file("none", "").close()
    let none = try run("bench", "--model", model, "--texts", scratch.path("none"))
    #expect(none.status == 1 && none.errors.contains("no lines"))
  }

  @Test(arguments: [
    (["--prompt-lengths", "9:2"], "9:2"), (["--prompt-lengths", "1:2:3"], "1:2:3"),
    (["--beam", "0"], "not 0"),
    (["--texts", "f", "--decode", "1"], "--texts"),
  ])
  func wrongNumbersOfAModel(arguments: [String], words: String) throws {
    let result = try run(["bench", "--model", Models.path("bert")] + arguments)
    #expect(result.status == 2 && result.errors.contains(words), "\(result.errors)")
  }

  /// The shapes of encoder–decoders, without files.
  @Test(arguments: devices) func encoderDecodersOfRandomWeights(device: String) throws {
    for shape in ["transformer-base", "t5-small:f16"] {
      let result = try run(
        ["bench", "--model-shape", shape, "--prompt-lengths", "4", "--decode", "2", "--format", "json"],
        environment: ["FLASHCL_DEVICE": device])
      #expect(result.status == 0, "\(result.errors)")
      let results = try #require(try result.json()["results"] as? [[String: Any]])
      #expect(results.first?["beam"] as? Int == 4)
    }
  }

  @Test(arguments: devices) func aModelOfRandomWeights(device: String) throws {
    let scratch = try Scratch()
    let result = try run(
      [
        "bench", "--model-shape", "minilm", "--prompt-lengths", "4", "--format", "json", "--plot",
        scratch.path("m.svg"),
      ],
      environment: ["FLASHCL_DEVICE": device])
    #expect(result.status == 0, "\(result.errors)")
    #expect(try result.json()["model"] as? String == "minilm:f32")
    #expect(Elements(scratch.path("m.svg"))?.words.contains("tokens/s") == true)
  }

  @Test(arguments: devices) func theBytesOfACache(device: String) throws {
    let scratch = try Scratch()
    let result = try run(
      ["bench", "claims", "cache_bytes", "--format", "json", "--output", scratch.path("claims")],
      environment: ["FLASHCL_DEVICE": device])
    #expect(result.status == 0, "\(result.errors)")
    let claims = try #require(try result.json()["claims"] as? [[String: Any]])
    let finding = try #require(claims.first?["finding"] as? [String: Any])
    #expect(finding["verdict"] as? String == "holds")
    let figures = try #require(finding["figures"] as? [[String: Any]])
    #expect(figures.first?["value"] as? Double == 1_677_721_600)
    #expect(Elements(scratch.path("claims/cache_bytes.svg")) != nil)
    #expect(FileManager.default.fileExists(atPath: scratch.path("claims/claims.json")))
  }
}

@Suite struct BenchCompareTests {
  private struct Row {
    var operation = "gelu"
    var rows = 1
    var seconds: Double
    var spread = 0.0
  }

  /// A file of results with these rows.
  private static func write(_ rows: [Row], device: String = "d", to path: String) throws {
    let results = rows.map { row -> [String: Any] in
      [
        "operation": row.operation, "strategy": "items",
        "parameters": ["rows": row.rows, "eps": 1e-5, "form": "exact"],
        "median_s": row.seconds, "spread": row.spread,
      ]
    }
    let json = try JSONSerialization.data(withJSONObject: ["device": device, "results": results])
    try json.write(to: URL(fileURLWithPath: path))
  }

  @Test func slowerBeyondTheSpreadOfBothFails() throws {
    let scratch = try Scratch()
    let (old, new) = (scratch.path("old.json"), scratch.path("new.json"))
    try Self.write(
      [
        Row(rows: 1, seconds: 1), Row(rows: 2, seconds: 1), Row(rows: 3, seconds: 1, spread: 0.3),
        Row(rows: 4, seconds: 1), Row(rows: 5, seconds: 1),
      ], to: old)
    try Self.write(
      [
        Row(rows: 1, seconds: 1.04), Row(rows: 2, seconds: 1.2), Row(rows: 3, seconds: 1.2, spread: 0.3),
        Row(rows: 4, seconds: 0.5), Row(rows: 6, seconds: 1),
      ], to: new)
    let result = try run("bench", "compare", old, new, "--format", "json")
    #expect(result.status == 1 && result.errors == "")
    let json = try result.json()
    let rows = try #require(json["results"] as? [[String: Any]])
    #expect(rows.map { $0["verdict"] as? String } == ["same", "slower", "same", "faster"])
    #expect((json["only_old"] as? [String])?.count == 1 && (json["only_new"] as? [String])?.count == 1)
    let text = try run("bench", "compare", old, new)
    #expect(
      text.status == 1 && text.output.contains("slower") && text.output.contains("only in the old file"))
    #expect(try run("bench", "compare", old, new, "--threshold", "25").status == 0)
    #expect(try run("bench", "compare", old, old).status == 0)
  }

  @Test func otherDevicesAreSaid() throws {
    let scratch = try Scratch()
    let (old, new) = (scratch.path("old.json"), scratch.path("new.json"))
    try Self.write([Row(seconds: 1)], device: "one", to: old)
    try Self.write([Row(seconds: 1)], device: "two", to: new)
    #expect(
      try run("bench", "compare", old, new).output.hasPrefix("the devices differ: one before, two after"))
  }

  /// Results that are kept with the project stay readable.
  @Test func keptResults() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let folder = root.appendingPathComponent("bench/results")
    var compared = 0
    for case let file as URL in FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
      ?? .init()
    where file.pathExtension == "json" {
      let json = try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any]
      guard json?["results"] is [Any] else { continue }
      let result = try run("bench", "compare", file.path, file.path)
      #expect(
        result.status == 0 && result.output.contains(" 0 slower, 0 faster"), "\(file.path): \(result.errors)")
      compared += 1
    }
    #expect(compared >= 2)
  }

  @Test func modelsToo() throws {
    let scratch = try Scratch()
    for (name, seconds) in [("old", 1.0), ("new", 2.0)] {
      let row: [String: Any] = [
        "prompt_tokens": 16, "prefill_s": seconds, "prefill_spread": 0.1, "decode_tokens_per_s": 50,
      ]
      let report: [String: Any] = ["device": "d", "model": "/a/\(name)/m.gguf", "results": [row]]
      try JSONSerialization.data(withJSONObject: report)
        .write(to: URL(fileURLWithPath: scratch.path("\(name).json")))
    }
    let result = try run("bench", "compare", scratch.path("old.json"), scratch.path("new.json"))
    #expect(result.status == 1 && result.output.contains("2 rows compared: 1 slower"))
  }

  @Test(arguments: [
    "", "{", "[]", "{}", #"{"device": "d"}"#, #"{"device": "d", "results": 3}"#,
    #"{"device": 1, "results": []}"#,
    #"{"device": "d", "results": [3]}"#, #"{"device": "d", "results": [{"operation": "gelu"}]}"#,
    #"{"device": "d", "model": "m", "results": [{"prompt_tokens": 3}]}"#,
    #"{"device": "d", "results": [{"operation": "a", "strategy": "b", "parameters": {}, "median_s": 0}]}"#,
  ])
  func whatIsNoResultIsRefused(text: String) throws {
    let scratch = try Scratch()
    let path = scratch.path("bad.json")
    _ = try scratch.file("bad.json", text)
    let result = try run("bench", "compare", path, path)
    #expect(result.status == 1 && result.output == "")
    #expect(
      result.errors.contains(path) && result.errors.split(separator: "\n").count == 1, "\(result.errors)")
  }
}
