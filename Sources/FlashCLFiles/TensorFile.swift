import FlashCL

/// One named tensor of a weight file: where its bytes stand and how to read them.
public struct TensorEntry: Sendable, Equatable {
  public let name: String
  /// Row-major, the outermost dimension first: a linear layer's weight is [out, in].
  public let shape: [Int]
  /// How its numbers are stored; nil for a storage type that FlashCL does not compute with.
  public let type: ElementType?
  /// The storage type in the words of the file's format, such as `Q4_K` or `I64`.
  public let typeName: String
  /// Which of the files that the weights are in, counted from 0.
  public let file: Int
  /// First byte, counted from the start of that file; a multiple of the format's alignment only.
  public let offset: Int
  public let byteCount: Int
  /// The product of the shape; 1 for a scalar.
  public let elementCount: Int

  package init(
    name: String, shape: [Int], type: ElementType?, typeName: String, file: Int = 0, offset: Int,
    byteCount: Int, elementCount: Int
  ) {
    self.name = name
    self.shape = shape
    self.type = type
    self.typeName = typeName
    self.file = file
    self.offset = offset
    self.byteCount = byteCount
    self.elementCount = elementCount
  }

  /// The same entry in another of the files.
  func moved(to file: Int) -> TensorEntry {
    TensorEntry(
      name: name, shape: shape, type: type, typeName: typeName, file: file, offset: offset,
      byteCount: byteCount, elementCount: elementCount)
  }
}

/// A model's weights in a file of any format, or in several: named tensors over mapped bytes.
///
/// Opening one checks each offset, count and length against the file, so that the bytes of an entry are
/// always inside it. Tensors of a type that FlashCL cannot compute with are listed, and refused when asked
/// for.
public protocol TensorFile: AnyObject, Sendable {
  /// What the caller opened: a file, or the index of several.
  var path: String { get }
  var files: [MappedFile] { get }
  /// In the order of the file's own listing; names are unique.
  var tensors: [TensorEntry] { get }
  /// The place in `tensors` of each name.
  var places: [String: Int] { get }
}

extension TensorFile {
  /// The tensor of that name; nil if there is none.
  public func entry(named name: String) -> TensorEntry? { places[name].map { tensors[$0] } }

  /// The tensor's bytes as they stand in the file; not always aligned to the element, so load with
  /// `loadUnaligned` or copy.
  ///
  /// They are valid as long as this object lives: keep it in a property, or hold it with
  /// `withExtendedLifetime`.
  ///
  /// - Throws: `FileError` if the type is not supported, or the entry is not from this file.
  public func bytes(of entry: TensorEntry) throws -> UnsafeRawBufferPointer {
    guard self.entry(named: entry.name) == entry else {
      throw FileError(path, "tensor \(quoted(entry.name)) is not from this file")
    }
    guard entry.type != nil else {
      let supported = ElementType.allCases.map { $0.rawValue.uppercased() }.joined(separator: ", ")
      throw FileError(
        path,
        "tensor \(quoted(entry.name)) has type \(entry.typeName), which is not supported (only \(supported))"
      )
    }
    return stored(entry)
  }

  /// The bytes of an entry of this file, whether or not its type is supported.
  package func stored(_ entry: TensorEntry) -> UnsafeRawBufferPointer {
    let bytes = files[entry.file].bytes
    return UnsafeRawBufferPointer(rebasing: bytes[entry.offset..<(entry.offset + entry.byteCount)])
  }

  /// Gives the memory of the tensor's bytes back to the system; they can still be read, from disk.
  public func release(_ entry: TensorEntry) {
    files[entry.file].release(entry.offset..<(entry.offset + entry.byteCount))
  }
}

/// `places` for a listing.
///
/// - Throws: `FileError` if two tensors share a name.
func places(of tensors: [TensorEntry], path: String) throws -> [String: Int] {
  var places: [String: Int] = Dictionary(minimumCapacity: tensors.count)
  for (place, entry) in tensors.enumerated() where places.updateValue(place, forKey: entry.name) != nil {
    throw FileError(path, "tensor \(quoted(entry.name)) is listed twice")
  }
  return places
}

/// The product of a shape; nil if it exceeds `Int`.
func product(_ shape: [Int]) -> Int? {
  // Zero first: [0, huge, huge] holds nothing, though the other factors overflow.
  if shape.contains(0) { return 0 }
  var count = 1
  for dimension in shape {
    let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
    if overflow { return nil }
    count = product
  }
  return count
}
