import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLReference
import Foundation
import Testing

#if canImport(FlashCLOpenCL)
  import FlashCLOpenCL
  import FlashCLRuntime
#endif

/// The places where every model must give the same answer.
enum Place: String, CaseIterable, Sendable {
  case cpu, openCL

  static var available: [Place] {
    #if canImport(FlashCLOpenCL)
      if let devices = try? Device.all(), !devices.isEmpty { return [.cpu, .openCL] }
    #endif
    return [.cpu]
  }

  func backend() throws -> any Backend {
    #if canImport(FlashCLOpenCL)
      if self == .openCL { return try OpenCLBackend(Device.select()) }
    #endif
    return ReferenceBackend()
  }
}

enum Fixtures {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
    "Fixtures")

  static func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
  static func floats(_ name: String) throws -> NumPyArray<Float> { try NumPyArray(contentsOf: path(name)) }
  static func integers(_ name: String) throws -> NumPyArray<Int32> { try NumPyArray(contentsOf: path(name)) }
  static func json(_ name: String) throws -> JSON {
    let file = try MappedFile(path(name))
    return try withExtendedLifetime(file) { try JSON(parsing: file.bytes, path: file.path) }
  }
}

/// Models that `make models` fetches; tests on them are skipped where they are not there.
enum Fetched {
  static let folder: String = {
    let environment = ProcessInfo.processInfo.environment
    if let cache = environment["FLASHCL_CACHE"] { return cache + "/models" }
    let cache = environment["XDG_CACHE_HOME"] ?? (environment["HOME"] ?? "") + "/.cache"
    return cache + "/flashcl/models"
  }()
  static let smolLM2 = folder + "/SmolLM2-135M-Instruct.Q4_1.gguf"
  static let miniLM = folder + "/all-MiniLM-L6-v2"
  static let hasSmolLM2 = FileManager.default.fileExists(atPath: smolLM2)
  static let hasMiniLM = FileManager.default.fileExists(atPath: miniLM + "/model.safetensors")
}

/// The greatest distance of two lists; infinite where one has a NaN or another length.
func distance(_ a: some Collection<Float>, _ b: some Collection<Float>) -> Float {
  guard a.count == b.count else { return .infinity }
  return zip(a, b).reduce(0) { $1.0.isNaN || $1.1.isNaN ? .infinity : max($0, abs($1.0 - $1.1)) }
}

extension DecoderState {
  /// Logits of every token of `ids`, fed as one prompt.
  func allLogits(_ ids: [Int32]) throws -> [Float] {
    var all: [Float] = []
    try prefill(ids) { hidden, _ in
      all += try decoder.backend.floats(decoder.logits(hidden, phase: .prefill))
    }
    return all
  }
}

func loadDecoder(_ path: String, on backend: any Backend) throws -> any Decoder {
  guard case .decoder(let decoder) = try Architectures.load(ModelSource.open(path), on: backend) else {
    throw ModelError("\(path) is no decoder")
  }
  return decoder
}

func loadEncoder(_ path: String, on backend: any Backend) throws -> any TextEncoder {
  guard case .encoder(let encoder) = try Architectures.load(ModelSource.open(path), on: backend) else {
    throw ModelError("\(path) is no encoder")
  }
  return encoder
}
