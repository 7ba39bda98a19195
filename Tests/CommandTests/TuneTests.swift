import Foundation
import Testing

/// `tune`: a table goes out and comes back, and others are refused.
@Suite(.enabled(if: hasDevice)) struct TuneCommandTests {
  @Test func aTableGoesOutAndComesBack() throws {
    let folder = try Scratch()
    let (file, cache) = (folder.path("t.json"), ["FLASHCL_CACHE": folder.path("cache")])
    #expect(try run(["tune", "--export", file], environment: cache).status == 0)
    let text = try String(contentsOfFile: file, encoding: .utf8)
    #expect(text.contains(#""tuning":[]"#))
    let table = #""tuning":["attention.split = 256","softmax = rows"]"#
    try text.replacingOccurrences(of: #""tuning":[]"#, with: table).write(
      toFile: file, atomically: true, encoding: .utf8)
    #expect(try run(["tune", "--import", file], environment: cache).output.contains("attention.split = 256"))
    // Another process finds it.
    #expect(try run(["tune", "--export", file], environment: cache).output.contains("softmax = rows"))
    #expect(
      try run(["tune", "softmax", "--reset"], environment: cache).output.contains("attention.split = 256"))
    #expect(try run(["tune", "--reset"], environment: cache).output.contains("the defaults are in use"))
  }

  @Test func aSearchTellsWhereItBegan() throws {
    let scratch = try Scratch()
    let cache = ["FLASHCL_CACHE": scratch.path("cache")]
    let json = try run(["tune", "argmax", "--seconds", "1", "--format", "json"], environment: cache).json()
    let guesses = try #require(json["guesses"] as? [String: Any])
    #expect(guesses["gflops"] as? Double ?? 0 > 0 && guesses["copy_gbytes_per_s"] as? Double ?? 0 > 0)
    #expect(json["changes"] is [Any] && json["tuning"] is [String])
  }

  @Test func whatIsNoTableIsRefused() throws {
    let folder = try Scratch()
    let file = folder.path("t.json")
    let whole = #"{"device":"x","driver":"1","format":"flashcl tuning 1","tuning":["#
    for text in ["", "{}", "[]", "nonsense", whole, whole + #""attention.split = 5"]}"#, whole + "7]}"] {
      try text.write(toFile: file, atomically: true, encoding: .utf8)
      let result = try run(["tune", "--import", file], environment: [:])
      #expect(result.status == 1 && result.errors.contains(file), "\(text): \(result.errors)")
    }
    #expect(try run(["tune", "nothing"], environment: [:]).errors.contains("no operation 'nothing'"))
    #expect(try run(["tune", "--seconds", "0"], environment: [:]).status == 2)
    #expect(try run(["tune", "--device", "cpu"], environment: [:]).status == 1)
  }
}
