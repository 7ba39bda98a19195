import Foundation
import FoundationXML
import Testing

private let devices: [String] = hasDevice ? ["gpu"] : []

/// `--seconds`: what ran is reported, and what did not is said.
@Suite struct DeadlineTests {
  @Test func aCheckThatStopsLeavesEveryReport() throws {
    let scratch = try Scratch()
    let names = ["r.html", "r.json", "r.md", "r.xml"]
    // Far less than all cases take, and than one may: some run, or none.
    let result = try run(
      ["check", "--seconds", "0.05"] + names.flatMap { ["--report", scratch.path($0)] })
    #expect(result.status == 0, "\(result.errors)")
    #expect(result.output.contains("; stopped after 0.0500 s with "))
    #expect(try scratch.names() == names)
    func text(_ name: String) throws -> String {
      try String(contentsOfFile: scratch.path(name), encoding: .utf8)
    }
    let json = try #require(
      try JSONSerialization.jsonObject(with: Data(text("r.json").utf8)) as? [String: Any])
    let (results, notRun) = (json["results"] as? [[String: Any]] ?? [], json["not_run"] as? Int ?? 0)
    let all = try run("check", "--list").output.split(separator: "\n").count
    #expect(notRun > 0 && results.count + notRun == all && json["stopped_after_s"] as? Double == 0.05)
    let operations = results.map { $0["operation"] as? String ?? "" }
    let changes = zip(operations, operations.dropFirst()).count { $0 != $1 }
    #expect(changes == max(1, Set(operations).count) - 1, "each operation's results stand together")
    #expect(try text("r.html").contains("All cases that ran passed"))
    #expect(try text("r.html").contains("class=\"stopped\">⏱ stopped after 0.0500 s with"))
    #expect(try text("r.md").hasPrefix("## ⏱️ "))
    let suite = try #require(
      try XMLDocument(xmlString: text("r.xml")).rootElement()?.elements(forName: "testsuite").first)
    let properties = try #require(suite.elements(forName: "properties").first)
    #expect(
      properties.elements(forName: "property").map { $0.attribute(forName: "value")?.stringValue }
        == ["0.05", "\(notRun)"])
  }

  @Test func aCheckWithTimeEnoughIsWhole() throws {
    let result = try run("check", "rms_norm.*cols=33,", "--seconds", "100000", "--format", "json")
    let json = try result.json()
    #expect(result.status == 0 && json["not_run"] as? Int == 0 && json["stopped_after_s"] is NSNull)
    #expect((json["results"] as? [Any])?.isEmpty == false)
  }

  @Test func aSweepThatStops() throws {
    let scratch = try Scratch()
    // One row is timed for longer than this.
    let arguments = ["bench", "rms_norm", "--seconds", "0.1", "--sweep", "rows=1|2|4,cols=8|16"]
    let files = ["--plot", scratch.path("p.svg"), "--roofline", scratch.path("r.svg")]
    let result = try run(arguments + files + ["--output", scratch.path("b.json"), "--format", "json"])
    #expect(result.status == 0, "\(result.errors)")
    let json = try result.json()
    let (results, notRun) = (try #require(json["results"] as? [Any]), json["not_run"] as? Int ?? 0)
    #expect(notRun >= 5 && results.count + notRun == 6 && json["stopped_after_s"] as? Double == 0.1)
    #expect(try scratch.names() == ["b.json", "p.svg", "r.svg"])
    for name in ["p.svg", "r.svg"] {
      let drawing = try XMLDocument(contentsOf: URL(fileURLWithPath: scratch.path(name)))
      #expect(drawing.stringValue?.contains("stopped after 0.100 s with") == true)
    }
    #expect(try run(arguments).output.contains("of 6 timings done; the rest did not run"))
    #expect(try run("bench", "compare", scratch.path("b.json"), scratch.path("b.json")).status == 0)
  }

  @Test func aModelThatStops() throws {
    let result = try run(
      "bench", "--model", Models.path("bert"), "--prompt-lengths", "3,5", "--seconds", "0.00001", "--format",
      "json")
    let json = try result.json()
    #expect(result.status == 0 && (json["results"] as? [Any])?.isEmpty == true)
    #expect(json["not_run"] as? Int == 2 && json["stopped_after_s"] as? Double == 0.00001)
  }

  @Test(arguments: devices) func claimsThatStop(device: String) throws {
    let result = try run(
      ["bench", "claims", "--seconds", "0.00001", "--format", "json"],
      environment: ["FLASHCL_DEVICE": device])
    let json = try result.json()
    #expect(result.status == 0 && (json["claims"] as? [Any])?.isEmpty == true)
    #expect(json["not_run"] as? Int ?? 0 > 0)
  }

  @Test(arguments: [["check"], ["bench"], ["bench", "claims"], ["tune"]])
  func whatIsNoTimeIsRefused(command: [String]) throws {
    for value in ["0", "-1", "nan", "inf", "1e9", "soon", ""] {
      let result = try run(command + ["--seconds", value])
      #expect(result.status == 2 && result.output == "", "\(value)")
      #expect(result.errors.contains("--seconds must be above 0"), "\(result.errors)")
    }
  }

  @Test func onlyCasesThatRunHaveATime() throws {
    for mode in ["--list", "--coverage"] {
      let result = try run("check", mode, "--seconds", "5")
      #expect(result.status == 2 && result.errors.contains(mode))
    }
  }
}
