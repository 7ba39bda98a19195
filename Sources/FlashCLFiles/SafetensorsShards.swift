/// Weights in several safetensors files, and the index that says which tensor is in which.
///
/// ```
/// {"metadata": {"total_size": …}, "weight_map": {"name": "model-00001-of-00002.safetensors", …}}
/// ```
public final class SafetensorsShards: TensorFile {
  static let indexName = "model.safetensors.index.json"

  /// The index.
  public let path: String
  public let files: [MappedFile]
  /// Those that the index names, in the order of the shards' names.
  public let tensors: [TensorEntry]
  public let places: [String: Int]

  /// Reads the index, and the header of every shard beside it.
  ///
  /// - Throws: `FileError` for a shard that is missing or damaged, or that does not hold what the index says.
  public init(_ path: String) throws {
    guard let map = try JSON(MappedFile(path))["weight_map"]?.object, !map.isEmpty else {
      throw FileError(path, "has no \"weight_map\" of tensors and their files")
    }
    let folder = path.dropLast(path.split(separator: "/").last?.count ?? 0)
    var names: [String: Set<String>] = [:]
    for member in map {
      guard let shard = member.value.string, !shard.isEmpty, !shard.utf8.contains(UInt8(ascii: "/")) else {
        throw FileError(path, "tensor \(quoted(member.key.string)): its file is no name in the folder")
      }
      names[shard, default: []].insert(member.key.string)
    }
    var (files, tensors) = ([MappedFile](), [TensorEntry]())
    for (shard, expected) in names.sorted(by: { $0.key < $1.key }) {
      let file: Safetensors
      do {
        file = try Safetensors(folder + shard)
      } catch let error as FileError {
        throw FileError(error.path, "\(error.problem) (one of \(names.count) shards of \(Self.indexName))")
      }
      let found = file.tensors.filter { expected.contains($0.name) }
      if found.count < expected.count, let missing = expected.subtracting(found.map(\.name)).min() {
        throw FileError(
          file.path, "lacks the tensor \(quoted(missing)), which \(Self.indexName) says is there")
      }
      tensors += found.map { $0.moved(to: files.count) }
      files += file.files
    }
    (self.path, self.files, self.tensors) = (path, files, tensors)
    places = try FlashCLFiles.places(of: tensors, path: path)
  }
}
