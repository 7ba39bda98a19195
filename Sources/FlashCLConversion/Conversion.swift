import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLReference

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A model's files rewritten with weights of another type: GGUF file or folder in, GGUF file or folder out.
///
/// Tensors pass one after the other, some rows at a time. Until it is complete, the result stands as
/// `OUT.KEY.partial`, where a later run with the same key can take it up.
public struct Conversion {
  /// What became of one tensor.
  public struct Tensor: Sendable {
    public let name: String
    public let from: String
    public let to: String
    public let byteCount: Int
    /// √(mean of (new − old)²), and √(mean of old²); 0 where the bytes are the same.
    public let rms: Double
    public let size: Double
    /// The largest |new − old|.
    public let largest: Double
  }

  private enum Target {
    case gguf(GGUF.Metadata, alignment: Int)
    /// Beside the weights, by name.
    case folder([(name: String, bytes: [UInt8])])
  }

  public let path: String
  private let source: ModelSource
  private let target: Target
  private let plan: [PlannedTensor]

  /// Plans a conversion to `path`, which is a GGUF file where it ends in `.gguf`, else a folder; reads headers alone.
  ///
  /// - Throws: `ModelError` or `FileError` for what cannot be converted: a type of weights that the format does not hold,
  ///   an architecture whose names are known in one format only, a folder that is there already.
  public init(_ source: ModelSource, to path: String, type: ElementType) throws {
    self.source = source
    self.path = path
    let rule = TypeRule(type, tensors: source.tensors)
    switch (source, path.hasSuffix(".gguf")) {
    case (.gguf(let file), true):
      plan = try file.tensors.map {
        try PlannedTensor([$0], type: rule.type(of: $0.name, $0.shape), in: file.path)
      }
      var metadata = GGUF.Metadata(
        of: file, without: GGUF.splitKeys.union(["general.file_type", "general.quantization_version"]))
      metadata.add(fileType: type)
      target = .gguf(metadata, alignment: file["general.alignment"]?.int ?? 32)
    case (.folder(let folder), true):
      let gguf = try GGUFPlan(folder, rule)
      plan = gguf.tensors
      var metadata = gguf.metadata
      try metadata.addTokenizer(of: folder)
      metadata.add(fileType: type)
      target = .gguf(metadata, alignment: 32)
    case (.folder(let folder), false):
      try Self.requirePlain(type, path)
      plan = try folder.weights.tensors.map {
        try PlannedTensor([$0], type: rule.type(of: $0.name, $0.shape), in: folder.path)
      }
      target = .folder(try folder.otherFiles(type))
    case (.gguf(let file), false):
      try Self.requirePlain(type, path)
      let folder = try FolderPlan(file, rule, type: type)
      plan = folder.tensors
      target = .folder(folder.files)
    }
  }

  private static func requirePlain(_ type: ElementType, _ path: String) throws {
    guard !type.isQuantised else {
      throw ModelError(
        "safetensors hold f32, f16 or bf16; for \(type.rawValue) write a file that ends in .gguf")
    }
    guard !FileManager.default.fileExists(atPath: path) else {
      throw ModelError("\(path) is there already; a folder is never written over")
    }
  }

  /// Writes the result; `progress` is told the tensor's number and name.
  ///
  /// - Parameters:
  ///   - key: names source and type, so that two different results never share an unfinished file.
  ///   - resumes: goes on after the last whole tensor that an interrupted run left.
  public func run(key: String, resumes: Bool = false, progress: (Int, String) -> Void = { _, _ in }) throws
    -> [Tensor]
  {
    let partial = "\(path).\(key).partial"
    let layouts = plan.map(\.layout)
    switch target {
    case .gguf(let metadata, let alignment):
      let header = try GGUF.header(metadata, layouts, alignment: alignment, path: path)
      let tensors = try write(header, to: partial, resumes, progress)
      try moveIntoPlace(partial, path)
      return tensors
    case .folder(let others):
      let files = FileManager.default
      if !resumes { try? files.removeItem(atPath: partial) }
      try files.createDirectory(atPath: partial, withIntermediateDirectories: true)
      for (name, bytes) in others {
        let file = try PartialFile("\(partial)/\(name)", resumes: false)
        try file.append(bytes)
      }
      let header = Safetensors.header(layouts, metadata: [("format", "pt")])
      let tensors = try write(header, to: "\(partial)/model.safetensors", resumes, progress)
      try moveIntoPlace(partial, path)
      return tensors
    }
  }

  private func write(
    _ header: FileHeader, to partial: String, _ resumes: Bool, _ progress: (Int, String) -> Void
  )
    throws -> [Tensor]
  {
    let file = try PartialFile(partial, resumes: resumes)
    var done = 0
    if file.count >= header.bytes.count, try file.read(0..<header.bytes.count) == header.bytes {
      while done < plan.count, header.ranges[done].upperBound <= file.count { done += 1 }
      try file.cut(to: done == 0 ? header.bytes.count : header.ranges[done - 1].upperBound)
    } else {
      try file.cut(to: 0)
      try file.append(header.bytes)
    }
    do {
      return try zip(plan, header.ranges).enumerated().map { index, item in
        let (tensor, range) = item
        progress(index, tensor.layout.name)
        if index >= done { try file.pad(to: range.lowerBound) }
        let old = index < done ? range.lowerBound : nil
        return try tensor.convert(of: source.tensors, in: file, written: old)
      }
    } catch {
      // What stopped it would stop it again: nothing is worth keeping.
      try? FileManager.default.removeItem(atPath: partial)
      throw error
    }
  }
}

extension ModelFolder {
  /// The folder's text files, settings and tokenizers: whatever is not weights; config.json says what type those are.
  fileprivate func otherFiles(_ type: ElementType) throws -> [(name: String, bytes: [UInt8])] {
    let endings = [".json", ".txt", ".model", ".spm", ".jinja", ".md"]
    return try FileManager.default.contentsOfDirectory(atPath: path).sorted().compactMap { name in
      guard endings.contains(where: name.hasSuffix), !name.hasSuffix(".index.json"),
        let file = try? MappedFile("\(path)/\(name)")  // else a folder, or empty
      else { return nil }
      guard name == "config.json" else { return (name, file.contents()) }
      // transformers' older files call it torch_dtype.
      let key = config["torch_dtype"] == nil ? "dtype" : "torch_dtype"
      return (name, Array(config.setting(key, to: JSON(type.torchName)).text.utf8))
    }
  }
}
