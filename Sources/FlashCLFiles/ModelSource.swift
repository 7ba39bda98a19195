#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A model on disk: one GGUF file, or a folder as the `transformers` package saves it.
public enum ModelSource: Sendable {
  case gguf(GGUF)
  case folder(ModelFolder)

  /// Opens a .gguf file, or a folder with config.json and model.safetensors.
  ///
  /// - Throws: `FileError` saying what was expected, or what is wrong with the file.
  public static func open(_ path: String) throws -> ModelSource {
    var isFolder = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw FileError(path, "does not exist, expected \(expected)")
    }
    if isFolder { return .folder(try ModelFolder(path)) }
    guard try MappedFile(path).starts(with: "GGUF".utf8) else {
      throw FileError(path, "is not a GGUF file, expected \(expected)")
    }
    return .gguf(try GGUF(path))
  }

  /// The weights, whichever the format.
  public var tensors: any TensorFile {
    switch self {
    case .gguf(let file): file
    case .folder(let folder): folder.weights
    }
  }

  fileprivate static let expected = "a .gguf file, or a folder with config.json and model.safetensors"
}

/// A folder with config.json, the weights in model.safetensors or in shards, and the files of the tokenizer.
public struct ModelFolder: Sendable {
  public let path: String
  /// config.json
  public let config: JSON
  /// model.safetensors, or the shards that model.safetensors.index.json names.
  public let weights: any TensorFile

  public init(_ path: String) throws {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: path)
    } catch {
      throw FileError(path, "is a folder that cannot be listed")
    }
    guard names.contains("config.json") else {
      throw FileError(path, "has no config.json, expected \(ModelSource.expected)")
    }
    self.path = path
    config = try JSON(MappedFile(Self.join(path, "config.json")))
    if names.contains("model.safetensors") {
      weights = try Safetensors(Self.join(path, "model.safetensors"))
    } else if names.contains(SafetensorsShards.indexName) {
      weights = try SafetensorsShards(Self.join(path, SafetensorsShards.indexName))
    } else {
      throw FileError(path, "has no model.safetensors, expected \(ModelSource.expected)")
    }
  }

  /// The bytes of a file in the folder, such as merges.txt; nil if there is none.
  public func file(_ name: String) throws -> MappedFile? {
    let path = Self.join(path, name)
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    return try MappedFile(path)
  }

  /// A JSON file in the folder, such as tokenizer.json; nil if there is none.
  public func json(_ name: String) throws -> JSON? {
    try file(name).map { try JSON($0) }
  }

  private static func join(_ folder: String, _ name: String) -> String {
    folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
  }
}
