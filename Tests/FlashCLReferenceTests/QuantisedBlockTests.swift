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

  /// The gguf package's own bytes.
  @Test(arguments: [ElementType.q8_0, .q4_0, .q4_1, .q5_0, .q5_1]) func quantised(_ type: ElementType) throws
  {
    let truth = try Self.fixture("\(type.rawValue).quantised")
    let bytes = try type.quantised(try Self.floats("values.f32"))
    let wrong = zip(bytes, truth).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    #expect(bytes.count == truth.count && wrong == nil, "block \((wrong ?? 0) / type.blockBytes)")
  }

  /// Every type comes as close as its bits allow.
  @Test(arguments: types) func errors(_ type: ElementType) throws {
    let values = try Self.floats("values.f32")
    let once = try type.quantised(values).withUnsafeBytes { type.decoded($0) }
    let error = zip(values, once).reduce(0.0) { $0 + ($1.1 - Double($1.0)) * ($1.1 - Double($1.0)) }
    let size = values.reduce(0.0) { $0 + Double($1) * Double($1) }
    let bits = Double(type.blockBytes * 8) / Double(type.blockLength)
    // A uniform quantiser of b bits over ±3 deviations leaves about 6 / √12 / 2^b; scales take one of them.
    #expect((error / size).squareRoot() < 1.8 / exp2(bits - 1.2), "\((error / size).squareRoot())")
  }
}
