import FlashCL
import FlashCLReference
import Foundation
import Testing

/// Blocks of every quantised type against the gguf package (Fixtures/make_quants.py).
@Suite struct QuantisedBlockTests {
  static let types = ElementType.allCases.filter(\.isQuantised)

  static func fixture(_ name: String) throws -> [UInt8] {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/quants")
    return [UInt8](try Data(contentsOf: folder.appending(path: name)))
  }

  static func floats(_ name: String) throws -> [Float] {
    try fixture(name).withUnsafeBytes { bytes in
      stride(from: 0, to: bytes.count, by: 4).map { bytes.loadUnaligned(fromByteOffset: $0, as: Float.self) }
    }
  }

  /// The f32 that gguf makes is the exact value, rounded once.
  @Test(arguments: types) func expanded(_ type: ElementType) throws {
    let truth = try Self.floats("\(type.rawValue).f32")
    let values = try Self.fixture("\(type.rawValue).blocks").withUnsafeBytes {
      type.decoded($0).map { Float($0) }
    }
    #expect(values.count == truth.count && values.count == 8 * type.blockLength)
    #expect(values == truth)
  }
}
