import FlashCL
import FlashCLFiles
import FlashCLReference

/// An array that a call reads: a .npy file, opened, of a type that its place allows.
struct AttentionArray {
  let file: NumPyFile
  let type: ElementType

  private static let types: [String: ElementType] = ["<f4": .f32, "<f2": .f16, "<i4": .i32, "|b1": .bool]
  private static let names: [ElementType: String] = [
    .f32: "float32", .f16: "float16", .i32: "int32", .bool: "bool",
  ]

  init(_ path: String, _ wanted: ElementType...) throws {
    file = try NumPyFile(path)
    guard let type = Self.types[file.descr], wanted.contains(type) else {
      let names = wanted.compactMap { Self.names[$0] }.joined(separator: " or ")
      throw Failure("\(path): holds \(file.typeName), expected \(names)")
    }
    self.type = type
  }

  var path: String { file.path }
  var shape: [Int] { file.shape }

  /// The elements of an int32 file of one shape; `nil` in an axis accepts any size.
  func integers(_ wanted: [Int?]) throws -> [Int] {
    guard shape.count == wanted.count, zip(wanted, shape).allSatisfy({ $0 == nil || $0 == $1 }) else {
      let text = wanted.map { $0.map(String.init) ?? "any" }.joined(separator: ", ")
      throw Failure("\(path): has the shape \(shape), expected [\(text)]")
    }
    return try file.elements(of: Int32.self).map { Int($0) }
  }

  /// The array in a backend's memory, stored as `target`.
  func tensor(on backend: any Backend, as target: ElementType? = nil) throws -> Tensor {
    let target = target ?? type
    let tensor = try backend.allocate(shape, target)
    try file.withBytes { bytes in
      if type == target { return try backend.write(bytes, to: tensor) }
      try type.converted(bytes, to: target).withUnsafeBytes { try backend.write($0, to: tensor) }
    }
    return tensor
  }

  /// The array seen with as many axes as `wanted`, of that size or 1: as NumPy broadcasts, axes of size 1 stand in front.
  func tensor(on backend: any Backend, broadcastTo wanted: [Int]) throws -> Tensor {
    let axes = [Int](repeating: 1, count: max(0, wanted.count - shape.count)) + shape
    guard axes.count == wanted.count, zip(axes, wanted).allSatisfy({ $0 == 1 || $0 == $1 }) else {
      throw Failure("\(path): has the shape \(shape), which does not broadcast to \(wanted)")
    }
    return try tensor(on: backend).reshaped(axes)
  }
}

/// A result on its way to a file, which is opened before the work: a path that cannot be written is known at once.
struct AttentionResult {
  private let tensor: Tensor
  private let append: (UnsafeRawBufferPointer) throws -> Void
  /// Gives the file its name; until then there is none.
  let finish: () throws -> Void

  /// float16 for a tensor of f16, float32 for one of f32 or bf16.
  init(_ tensor: Tensor, to path: String) throws {
    self =
      tensor.type == .f16
      ? Self(tensor, try NumPyWriter(path, shape: tensor.shape, of: Float16.self))
      : Self(tensor, try NumPyWriter(path, shape: tensor.shape, of: Float.self))
  }

  private init<Element>(_ tensor: Tensor, _ writer: NumPyWriter<Element>) {
    self.tensor = tensor
    append = { try writer.append($0.bindMemory(to: Element.self)) }
    finish = writer.finish
  }

  /// Writes the tensor's elements, one sequence after the other.
  func fill(from backend: any Backend) throws {
    for sequence in 0..<tensor.shape[0] {
      let part = tensor.slice(0, sequence..<sequence + 1)
      var bytes = [UInt8](repeating: 0, count: part.type.bytes(part.count))
      try bytes.withUnsafeMutableBytes { try backend.read(part, into: $0) }
      if part.type == .bf16 { bytes = bytes.withUnsafeBytes { ElementType.bf16.converted($0, to: .f32) } }
      try bytes.withUnsafeBytes(append)
    }
  }
}

extension ElementType {
  /// Elements of this type stored as those of another, rounded to nearest, ties to even; plain types alone.
  func converted(_ bytes: UnsafeRawBufferPointer, to target: ElementType) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count / blockBytes * target.blockBytes)
    // Piece by piece: every number is a Double on the way.
    let piece = 1 << 16
    for begin in stride(from: 0, to: bytes.count, by: piece) {
      let end = min(begin + piece, bytes.count)
      result += target.encoded(decoded(UnsafeRawBufferPointer(rebasing: bytes[begin..<end])))
    }
    return result
  }
}
