import Foundation
import Testing

/// Where commands are tried: on the reference, and on an OpenCL device where there is one.
private let places: [String] = {
  let devices = try? run("devices", "--format", "json", environment: [:]).json()["devices"] as? [Any]
  return ["cpu"] + (devices?.isEmpty == false ? ["gpu"] : [])
}()

/// `check --bitwise`: what it prints, and what it cannot be given with.
@Suite struct BitwiseCommandTests {
  @Test func everyFieldIsThere() throws {
    let result = try run(
      "check", "--bitwise",
      "^(softmax.*type=f32.*cols=33,|attention.*keys_in=ragged.*type=f32|rope.*f16.*tokens=1,)",
      "--format", "json")
    #expect(result.status == 0)
    let json = try result.json()
    #expect((json["device"] as? String)?.isEmpty == false)
    let results = try #require(json["results"] as? [[String: Any]])
    #expect(!results.isEmpty)
    for result in results {
      #expect(result["outcome"] as? String == "passed" && result["strategy"] as? String == "reference")
      #expect(result["reason"] is NSNull && result["error"] is NSNull && result["tolerance"] is NSNull)
    }
    let name = try #require(results[0]["case"] as? String)
    let text = try run("check", "--bitwise", name)
    #expect(text.status == 0 && text.output.contains("1 case passed, 0 failed"))
  }

  /// Sequences of unequal lengths beside each other, by every strategy of the device where there is one.
  @Test(arguments: places) func sequencesDoNotMeet(place: String) throws {
    let result = try run(
      ["check", "--bitwise", "attention.*type=f32.*(lengths=0.64.65|Lq=5.0.33|lengths=600)"],
      environment: ["FLASHCL_DEVICE": place])
    #expect(result.status == 0, "\(result.output)\(result.errors)")
    #expect(result.output.contains(" 0 failed"))
  }

  @Test func oneModeAtATime() throws {
    for other in [["--list"], ["--coverage"], ["--model", "m.gguf", "--tokens", "1"]] {
      let result = try run(["check", "--bitwise"] + other)
      #expect(result.status == 2 && result.output == "")
      #expect(result.errors.contains("--bitwise"))
    }
  }
}
