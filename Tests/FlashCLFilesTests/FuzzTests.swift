import FlashCL
import Foundation
import Testing

@testable import FlashCLFiles

/// Thousands of damaged headers: each is opened or refused with a `FileError`, and all data that is given out
/// can be read.
@Suite struct FuzzTests {
  @Test func gguf() throws {
    let outcome = try fuzz(fixture("unsupported.gguf"), headerCount: 600, rounds: 3000) { path in
      let file = try GGUF(path)
      for member in file.metadata {
        _ = (member.value.description, member.value.array?.strings, member.value.array?.doubles)
      }
      return file
    }
    #expect(outcome.opened > 20)
    #expect(outcome.refused > 1000)
  }

  @Test func ggufMetadata() throws {
    let whole = try MappedFile(fixture("types.gguf")).contents()
    let folder = try TemporaryFolder()
    let path = try folder.write(whole, as: "x.gguf")
    let headerCount = (try GGUF(path).tensors.first?.offset ?? 0) + 64
    _ = try fuzz(path, headerCount: headerCount, rounds: 1500) { path in
      let file = try GGUF(path)
      for member in file.metadata {
        let list = member.value.array
        _ = (member.value.description, list?.strings, list?.doubles, list?.ints, list?.bools)
      }
      return file
    }
  }

  @Test func safetensors() throws {
    let outcome = try fuzz(fixture("mixed.safetensors"), headerCount: 1100, rounds: 3000) {
      try Safetensors($0)
    }
    #expect(outcome.opened > 20)
    #expect(outcome.refused > 1000)
  }

  @Test(arguments: ["float32", "float16", "bool", "uint8"]) func npy(name: String) throws {
    let outcome = try fuzz(fixture(name + ".npy"), headerCount: 128, rounds: 1000) { path in
      let file = try NumPyFile(path)
      file.withBytes { _ = ($0.first, $0.last) }
      _ = (file.typeName, Tensor(shape: file.shape, type: .f32, storage: Storage()))
      switch name {
      case "float32": _ = try file.elements(of: Float.self)
      case "float16": _ = try file.elements(of: Float16.self)
      case "bool": _ = try file.elements(of: Bool.self)
      default: _ = try file.elements(of: UInt8.self)
      }
      return nil
    }
    #expect(outcome.opened > 0 && outcome.refused > 500)
  }

  private func fuzz(
    _ path: String, headerCount: Int, rounds: Int, open: (String) throws -> (any TensorFile)?
  ) throws -> (opened: Int, refused: Int) {
    let sound = try MappedFile(path).contents()
    let folder = try TemporaryFolder()
    var generator = SplitMix64(seed: 42)
    var outcome = (opened: 0, refused: 0)
    for _ in 0..<rounds {
      let damaged = try folder.write(mutate(sound, headerCount, &generator), as: "fuzz")
      do {
        let file = try open(damaged)
        outcome.opened += 1
        for entry in file?.tensors ?? [] where entry.type != nil {
          try withExtendedLifetime(file) {
            guard let bytes = try file?.bytes(of: entry) else { return }
            #expect(bytes.count == entry.byteCount)
            // Touches both ends: memory that is not the file's ends the process.
            _ = (bytes.first, bytes.last)
          }
        }
      } catch let error as FileError {
        outcome.refused += 1
        #expect(!error.description.contains("\n"))
      }
    }
    return outcome
  }

  /// Flips bytes, cuts the file, or sets a field of 4 or 8 bytes to a value at a border.
  private func mutate(_ sound: [UInt8], _ headerCount: Int, _ generator: inout SplitMix64) -> [UInt8] {
    var bytes = sound
    let header = 0..<min(headerCount, bytes.count - 8)
    let borders: [UInt64] = [
      0, 1, 4, 5, 31, 33, 0x7F, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, 1 << 61, 1 << 62,
      1 << 63,
      UInt64(Int64.max), .max, .max - 7, .max - 31, UInt64(sound.count), UInt64(sound.count - 1),
    ]
    for _ in 0..<Int.random(in: 1...3, using: &generator) {
      let place = Int.random(in: header, using: &generator)
      switch Int.random(in: 0..<5, using: &generator) {
      case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 1: bytes[place] = UInt8.random(in: 0...255, using: &generator)
      case 2, 3:
        let border = borders.randomElement(using: &generator) ?? 0
        // Fields stand behind strings of any length, so at any place.
        for offset in 0..<(Bool.random(using: &generator) ? 4 : 8) {
          bytes[place + offset] = UInt8(truncatingIfNeeded: border >> (8 * UInt64(offset)))
        }
      default:
        if Int.random(in: 0..<4, using: &generator) == 0 {
          return Array(bytes.prefix(Int.random(in: 1..<sound.count, using: &generator)))
        }
        bytes.swapAt(place, Int.random(in: header, using: &generator))
      }
    }
    return bytes
  }
}
