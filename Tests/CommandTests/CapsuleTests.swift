import Foundation
import Testing

/// `capsule` and `replay`: a case's launches in a file, and what is refused.
@Suite(.enabled(if: hasDevice)) struct CapsuleTests {
  private let folder: Scratch
  private var file: String { folder.path("x.capsule") }

  init() throws { folder = try Scratch() }

  private let softmax = "softmax(strategy=group,type=f32,rows=3,cols=257,data=normal)"

  @Test func aReplayLeavesTheSameBits() throws {
    let made = try run(["capsule", softmax, "--output", file], environment: [:])
    #expect(made.status == 0, "\(made.errors)")
    #expect(made.output.contains("1 launch, 2 buffers"))
    let replayed = try run(["replay", file, "--format", "json"], environment: [:])
    #expect(replayed.status == 0, "\(replayed.errors)")
    let json = try replayed.json()
    #expect(json["kernels"] as? [String] == ["softmax_group"])
    let buffers = try #require(json["buffers"] as? [[String: Any]])
    #expect(buffers.count == 1 && buffers[0]["different"] as? Int == 0)
    #expect((json["about"] as? [String: Any])?["case"] as? String == softmax)
  }

  /// A kernel that does something else shows: the text in the file is what runs.
  @Test func anotherKernelLeavesOtherBits() throws {
    _ = try run(["capsule", softmax, "--output", file], environment: [:])
    let bytes = try Data(contentsOf: URL(filePath: file))
    let end = try #require(bytes.firstIndex(of: UInt8(ascii: "\n")))
    let text = String(decoding: bytes[..<end], as: UTF8.self)
    let changed = text.replacingOccurrences(of: "exp(", with: "2.0f + exp(")
    #expect(changed != text)
    try (Data(changed.utf8) + bytes[end...]).write(to: URL(filePath: file))
    let buffers = try #require(
      try run(["replay", file, "--format", "json"], environment: [:]).json()["buffers"] as? [[String: Any]])
    #expect((buffers.first?["different"] as? Int ?? 0) > 100)
  }

  @Test func damageIsRefused() throws {
    _ = try run(["capsule", softmax, "--output", file], environment: [:])
    let bytes = try Data(contentsOf: URL(filePath: file))
    var flipped = bytes
    flipped[bytes.count - 7] ^= 1
    for damaged in [
      flipped, bytes.dropLast(9), bytes.prefix(100), Data(), Data("{}\n".utf8), bytes + Data([0]),
    ] {
      try damaged.write(to: URL(filePath: file))
      let result = try run(["replay", file], environment: [:])
      #expect(result.status == 1 && result.output == "")
      #expect(result.errors.contains("capsule"))
    }
  }

  @Test func oneCaseIsWanted() throws {
    for (filter, words) in [("softmax", "a capsule holds one"), ("nothing", "no case matches")] {
      let result = try run(["capsule", filter, "--output", file], environment: [:])
      #expect(result.status == 1 && result.errors.contains(words))
    }
    #expect(!FileManager.default.fileExists(atPath: file))
    #expect(try run(["capsule", softmax], environment: [:]).status == 2)
    let cpu = try run(["capsule", softmax, "--output", file, "--device", "cpu"], environment: [:])
    #expect(cpu.status == 1 && cpu.errors.contains("launches no kernels"))
  }
}

let hasDevice: Bool = {
  let devices = try? run("devices", "--format", "json", environment: [:]).json()["devices"] as? [Any]
  return devices?.isEmpty == false
}()
