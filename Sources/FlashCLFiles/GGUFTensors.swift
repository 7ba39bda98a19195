import FlashCL

// GGUF's list of tensors: their types, and where their bytes stand.

extension GGUF {
  /// A tensor as the header lists it; `offset` counts from the start of the data.
  struct Info {
    let name: String
    let shape: [Int]
    let type: GGMLType
    let offset: UInt64
    let byteCount: Int
    let elementCount: Int
  }

  static func readTensorInfos(_ reader: inout ByteReader, count declared: UInt64) throws -> [Info] {
    // The least a tensor takes: an empty name, one dimension, a type, an offset.
    let count = try reader.count(declared, of: "tensors", itemBytes: 8 + 4 + 8 + 4 + 8)
    var infos: [Info] = []
    infos.reserveCapacity(count)
    for number in 0..<count {
      reader.subject = "tensor \(number + 1) of \(count)"
      let name = try reader.name()
      reader.subject = "tensor \(quoted(name))"
      infos.append(try readInfo(&reader, name: name))
    }
    return infos
  }

  private static func readInfo(_ reader: inout ByteReader, name: String) throws -> Info {
    let dimensions: UInt32 = try reader.integer()
    guard (1...4).contains(dimensions) else {
      throw reader.fault("has \(dimensions) dimensions, expected 1 to 4")
    }
    var shape: [Int] = []
    for _ in 0..<dimensions {
      let declared: UInt64 = try reader.integer()
      guard let dimension = Int(exactly: declared), dimension > 0 else {
        throw reader.fault("has a dimension of \(declared), expected 1 to \(Int.max)")
      }
      shape.insert(dimension, at: 0)
    }
    let number: UInt32 = try reader.integer()
    guard let type = GGMLType(number: number) else { throw reader.fault("has the unknown type \(number)") }
    let offset: UInt64 = try reader.integer()
    let rowLength = shape[shape.count - 1]
    guard rowLength.isMultiple(of: type.blockLength) else {
      throw reader.fault(
        "has rows of \(rowLength), expected a multiple of \(type.name)'s block of \(type.blockLength)")
    }
    guard let elementCount = product(shape),
      case let (byteCount, overflow) = (elementCount / type.blockLength)
        .multipliedReportingOverflow(by: type.blockBytes), !overflow
    else { throw reader.fault("has the shape \(shape), whose size exceeds 64 bits") }
    return Info(
      name: name, shape: shape, type: type, offset: offset, byteCount: byteCount, elementCount: elementCount)
  }

  /// Finds the tensors' places in the file, and checks that they are aligned, inside, and apart.
  static func place(
    _ infos: [Info], after headerEnd: Int, alignment: Int, in mapped: MappedFile
  ) throws -> [TensorEntry] {
    let dataStart = (headerEnd + alignment - 1) / alignment * alignment
    let dataCount = max(mapped.bytes.count - dataStart, 0)
    let entries = try infos.map { info in
      func fault(_ problem: String) -> FileError {
        FileError(mapped.path, "tensor \(quoted(info.name)): \(problem)")
      }
      guard info.offset.isMultiple(of: UInt64(alignment)) else {
        throw fault("offset \(info.offset) is not a multiple of the alignment \(alignment)")
      }
      guard info.offset <= UInt64(dataCount), info.byteCount <= dataCount - Int(info.offset) else {
        throw fault(
          "offset \(info.offset) and \(info.byteCount) bytes run past the data of \(dataCount) bytes")
      }
      return TensorEntry(
        name: info.name, shape: info.shape, type: info.type.elementType, typeName: info.type.name,
        offset: dataStart + Int(info.offset), byteCount: info.byteCount, elementCount: info.elementCount)
    }
    let sorted = entries.sorted { $0.offset < $1.offset }
    for (first, second) in zip(sorted, sorted.dropFirst())
    where first.offset + first.byteCount > second.offset {
      throw FileError(
        mapped.path,
        "tensor \(quoted(second.name)): offset \(second.offset - dataStart) lies inside tensor"
          + " \(quoted(first.name)), which takes \(first.byteCount) bytes from"
          + " offset \(first.offset - dataStart)"
      )
    }
    return entries
  }
}

extension GGUF {
  /// The number in the file of a type, by ggml's name in either case; nil if it has none.
  static func typeNumber(_ name: String) -> UInt32? {
    GGMLType.table.first { $0.value.0 == name.uppercased() }?.key
  }
}

/// A tensor storage type of ggml: its size, and what FlashCL calls it, if it computes with it.
struct GGMLType {
  let name: String
  let blockLength: Int
  let blockBytes: Int

  /// By its number in the file; nil for numbers that were never given, or withdrawn.
  init?(number: UInt32) {
    guard let (name, blockLength, blockBytes) = Self.table[number] else { return nil }
    self.name = name
    self.blockLength = blockLength
    self.blockBytes = blockBytes
  }

  /// FlashCL names its types as ggml does, in lower case.
  var elementType: ElementType? { ElementType(rawValue: name.lowercased()) }

  // Number: name, elements of a block, bytes of a block.
  static let table: [UInt32: (String, Int, Int)] = [
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
  ]
}
