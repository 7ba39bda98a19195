import FlashCLFiles
import FlashCLModels
import FlashCLTemplates
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Templates against `transformers`: Fixtures/make_goldens.py tells how they were rendered.
@Suite struct TemplateTests {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")
  static let now = TemplateTime(year: 2026, month: 3, day: 7, hour: 16, minute: 5, second: 9)
  static let names = [
    "alpaca", "chatml", "command_r_tools", "deepseek_coder", "deepseek_r1", "gemma", "gemma3", "granite",
    "ledger",
    "llama2", "llama3", "llama31_tools", "mistral", "mistral_tools", "phi3", "qwen25_tools", "reports",
    "thinker", "typescript_tools", "vicuna", "zephyr",
  ]

  static func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: folder.appending(path: name)), as: UTF8.self)
  }

  static func json(_ name: String) throws -> JSON { try JSON(parsing: text(name), path: name) }

  static func variables(_ json: JSON?) throws -> [String: TemplateValue] {
    Dictionary(
      uniqueKeysWithValues: try (json?.object ?? []).map { ($0.key.string, try TemplateValue($0.value)) })
  }

  /// Compares bytes with what was rendered there, or that it failed there: with the template's own words where it raised.
  private func expect(
    _ source: String, _ variables: [String: TemplateValue], _ golden: [JSON?], _ comment: Comment
  ) {
    do {
      let text = try TextTemplate(source).render(variables, now: Self.now)
      let expected = golden[0]?.string
      #expect(text == expected && expected.map { Array($0.utf8) == Array(text.utf8) } == true, comment)
    } catch let error as TemplateError {
      #expect(golden[0]?.string == nil, "\(comment): \(error)")
      #expect((error.kind == .raised ? error.message : nil) == golden[1]?.string, comment)
    } catch {
      Issue.record("\(comment): \(error)")
    }
  }

  @Test(arguments: names)
  func conversationsAreRenderedAsTransformersDoes(name: String) throws {
    let conversations = try #require(Self.json("conversations.json").array)
    let goldens = try #require(Self.json("goldens.json")[name]?.array)
    #expect(conversations.count == 10 && goldens.count == 10)
    let source = try Self.text("templates/\(name).jinja")
    for (place, conversation) in conversations.enumerated() {
      var variables = try Self.variables(conversation)
      for (name, value) in [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")] {
        variables[name] = .string(value)
      }
      if variables["tools"] == nil { variables["tools"] = TemplateValue.none }
      expect(source, variables, [goldens[place][0], goldens[place][1]], "conversation \(place)")
    }
  }

  /// Python's semantics, snippet by snippet.
  @Test func snippetsAreRenderedAsJinjaDoes() throws {
    let file = try Self.json("cases.json")
    let variables = try Self.variables(file["variables"])
    let cases = try #require(file["cases"]?.array)
    #expect(cases.count > 100)
    for snippet in cases {
      let source = try #require(snippet[0]?.string)
      expect(source, variables, [snippet[1], snippet[2]], Comment(rawValue: source))
    }
  }

  // MARK: - What is refused

  @Test(arguments: [
    ("{{ x | frobnicate }}", 1, 8, "frobnicate"), ("\n  {% include 'x' %}", 2, 6, "include"),
    ("{% import 'x' as y %}", 1, 4, "import"), ("{% extends 'x' %}", 1, 4, "extends"),
    ("{% call x %}{% endcall %}", 1, 9, "a call"), ("{{ f(*x, 1) }}", 1, 10, "argument"),
    ("a\n\n{{ 1 + }}", 3, 8, "'}}'"), ("{% if x %}", 1, 11, "endif"), ("{{ \"x }}", 1, 4, "no end"),
    ("{% set x = 'é' %}{{ y", 1, 22, "no end"), ("{{ x.__class__ }}", 1, 5, "__class__"),
    ("{{ 'a'.encode() }}", 1, 7, "encode"), ("{{ [1] * 9999999 }}", 1, 8, "too long"),
    ("{{ '%#x' % 5 }}", 1, 10, "flag '#'"), ("{{ {1: 2}.items() }}", 1, 16, "printing"),
    ("{{ 9223372036854775807 + 1 }}", 1, 24, "64 bits"), ("{{ 0x1F }}", 1, 5, "x1F"),
    ("{% set x = namespace(a=namespace()) %}{{ x.a }}", 1, 21, "Namespace"),
    ("{{ lipsum() }}", 1, 10, "lipsum"), ("{{ strftime_now('%Q') }}", 1, 16, "%Q"),
    ("{{ [1, 2] | map('string') | safe | upper }}", 1, 29, "safe"),
  ])
  func errorsHaveAPlace(source: String, line: Int, column: Int, word: String) throws {
    let error = #expect(throws: TemplateError.self) {
      _ = try TextTemplate(source).render(["x": .int(1), "y": TemplateValue([.int(1)])], now: Self.now)
    }
    #expect(error?.line == line && error?.column == column, "\(error.map { "\($0)" } ?? "")")
    #expect(error?.message.contains(word) == true, "\(error.map { "\($0)" } ?? "")")
  }

  @Test(arguments: [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set ns = namespace(s='x' * 1000) %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}",
    "{% for i in [[1]] recursive %}{{ loop([i]) }}{% endfor %}",
    "{% macro m() %}{% call m() %}{% endcall %}{{ caller }}{% endmacro %}{{ m() }}",
    "{{ '%9999s' % 1 * 9999 }}", "{{ [[1] * 99999] * 99999 }}", "{{ '%99999d' % 1 }}",
    "{% for i in range(99999) %}{{ 'x' * 10000 }}{% endfor %}", "{{ 'x' * 99999999999 }}",
    "{% macro m(n) %}{% for i in range(9) %}{{ m(n + 1) }}{% endfor %}{% endmacro %}{{ m(0)|length }}",
  ])
  func whatLoopsForEverIsStopped(source: String) throws {
    let error = #expect(throws: TemplateError.self) { _ = try TextTemplate(source).render([:]) }
    #expect(error?.kind == .limit, "\(error.map { "\($0)" } ?? "")")
  }

  @Test func deepNestingIsRefused() {
    let sources = [
      "{{ " + String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000) + " }}",
      "{{ " + String(repeating: "(", count: 5000) + "1" + String(repeating: ")", count: 5000) + " }}",
      "{{ " + String(repeating: "not ", count: 5000) + "1 }}",
      "{{ " + String(repeating: "-", count: 5000) + "1 }}",
      "{{ 1" + String(repeating: " + 1", count: 5000) + " }}",
      "{{ a" + String(repeating: ".b", count: 5000) + " }}",
      String(repeating: "{% if x %}", count: 5000), "{{ a" + String(repeating: "|first", count: 5000) + " }}",
      "{{ " + String(repeating: "1 if 0 else ", count: 5000) + "1 }}",
    ]
    for source in sources {
      let error = #expect(throws: TemplateError.self) { _ = try TextTemplate(source) }
      #expect(error?.kind == .limit, "\(source.prefix(30))")
    }
  }

  /// No cut or altered template crashes.
  @Test func brokenTemplatesFailInWords() throws {
    let conversation = try #require(Self.json("conversations.json")[4])
    let variables = try Self.variables(conversation)
    var limits = TemplateLimits()
    limits.steps = 200_000
    for name in Self.names {
      let source = Array(try Self.text("templates/\(name).jinja").unicodeScalars)
      for cut in stride(from: 1, to: source.count, by: max(1, source.count / 60)) {
        var parts = [source[..<cut], source[cut...], source[..<cut] + source[(cut + 1)...]].map { Array($0) }
        parts.append(source[..<cut] + ["}"] + source[cut...])
        parts.append(source[..<cut] + ["\""] + source[cut...])
        for part in parts {
          var text = String.UnicodeScalarView()
          text.append(contentsOf: part)
          do {
            _ = try TextTemplate(String(text)).render(variables, now: Self.now, limits: limits)
          } catch is TemplateError {}
        }
      }
    }
  }
}
