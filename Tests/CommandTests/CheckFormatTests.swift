import Foundation
import FoundationXML
import Testing

/// `check` in every format, and what it refuses.
@Suite struct CheckFormatTests {
  private static let filter = "^silu_multiply.*type=f32.*width=33,"

  @Test func junit() throws {
    let result = try run("check", Self.filter, "--format", "junit")
    #expect(result.status == 0)
    let suites = try #require(XMLDocument(xmlString: result.output).rootElement())
    let suite = try #require(suites.elements(forName: "testsuite").first)
    let cases = suite.elements(forName: "testcase")
    #expect(!cases.isEmpty && suite.attribute(forName: "tests")?.stringValue == "\(cases.count)")
    #expect(suite.attribute(forName: "failures")?.stringValue == "0")
    #expect(cases[0].attribute(forName: "classname")?.stringValue == "silu_multiply.reference")
  }

  @Test func markdown() throws {
    let result = try run("check", Self.filter, "--format", "markdown")
    #expect(result.status == 0 && result.output.hasPrefix("## ✅ 2 cases passed, 0 failed"))
    #expect(result.output.contains("| silu_multiply | reference | 2 |"))
  }

  /// A page of its own: nothing is fetched, nothing runs.
  @Test func filesInEveryFormat() throws {
    let scratch = try Scratch()
    let names = ["r.html", "r.xml", "r.md", "r.json"]
    let result = try run(["check", Self.filter] + names.flatMap { ["--report", scratch.path($0)] })
    #expect(result.status == 0 && result.output.contains("2 cases passed"))
    #expect(try scratch.names() == names.sorted())
    func text(_ name: String) throws -> String {
      try String(contentsOfFile: scratch.path(name), encoding: .utf8)
    }
    let page = try text("r.html")
    #expect(page.hasPrefix("<!DOCTYPE html>") && page.contains("<td class=\"passed\""))
    for word in ["<script", "http:", "https:", "<link", "@import", "url("] { #expect(!page.contains(word)) }
    _ = try XMLDocument(xmlString: text("r.xml"))
    #expect(try text("r.md").hasPrefix("## ✅"))
    let json = try #require(
      try JSONSerialization.jsonObject(with: Data(text("r.json").utf8)) as? [String: Any])
    #expect(
      json["passed"] as? Int == 2 && json["failed"] as? Int == 0 && json["extent"] as? String == "standard")
  }

  @Test func quickIsASmallPartOfTheWhole() throws {
    let whole = Set(try run("check", "softmax", "--list").output.split(separator: "\n"))
    let quick = Set(try run("check", "softmax", "--list", "--quick").output.split(separator: "\n"))
    let full = Set(try run("check", "softmax", "--list", "--full").output.split(separator: "\n"))
    #expect(
      quick.isStrictSubset(of: whole) && whole.isStrictSubset(of: full) && 4 * quick.count < whole.count)
  }

  /// Before anything runs.
  @Test func aReportThatCannotBeWrittenIsRefusedAtOnce() throws {
    let result = try run("check", "--report", "/nonexistent/r.html")
    #expect(result.status == 1 && result.output == "" && result.errors.contains("/nonexistent/r.html"))
  }

  @Test(arguments: [
    ["--quick", "--full"], ["--list", "--format", "junit"], ["--coverage", "--report", "r.html"],
    ["--report", "r.pdf"], ["--report", "html"], ["--format", "xml"],
    ["--quick", "--model", "m.gguf", "--tokens", "1"],
  ]) func badUsage(arguments: [String]) throws {
    let result = try run(["check"] + arguments)
    #expect(result.status == 2 && result.output == "" && result.errors.split(separator: "\n").count == 1)
  }
}

/// `devices --doctor` and `FLASHCL_PRETEND`.
@Suite struct DoctorCommandTests {
  @Test func withoutOpenCL() throws {
    let environment = ["FLASHCL_OPENCL_LIBRARY": "/nonexistent"]
    let text = try run("devices", "--doctor", environment: environment)
    #expect(text.status == 1 && text.errors == "")
    #expect(text.output.hasPrefix("error: ") && text.output.contains("no usable OpenCL device"))
    let json = try run("devices", "--doctor", "--format", "json", environment: environment).json()
    let findings = try #require(json["findings"] as? [[String: Any]])
    #expect(findings.first?["id"] as? String == "no-library" && (json["devices"] as? [Any])?.isEmpty == true)
    for key in ["severity", "problem", "remedy", "commands"] { #expect(findings[0][key] != nil) }
  }

  @Test func withoutAPlatform() throws {
    let result = try run("devices", "--doctor", environment: ["OCL_ICD_VENDORS": "/nonexistent"])
    #expect(result.status == 1 && result.output.contains("error: OpenCL has no platform"))
  }

  @Test func pretending() throws {
    let unknown = try run(
      "check", "rope", environment: ["FLASHCL_DEVICE": "gpu", "FLASHCL_PRETEND": "voodoo2"])
    #expect(unknown.status == 1 && unknown.output == "")
    #expect(unknown.errors.contains("rdna2") && unknown.errors.split(separator: "\n").count == 1)
    let devices = try run("devices", "--format", "json", environment: ["FLASHCL_PRETEND": "turing"]).json()
    for device in try #require(devices["devices"] as? [[String: Any]]) {
      #expect((device["pretends"] as? String)?.hasPrefix("turing") == true)
      #expect(device["kind"] as? String == "discrete GPU")
      #expect(device["local_memory_bytes"] as? Int ?? .max <= 49152)
    }
  }
}
