import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLReference

/// One tensor of a conversion: where it comes from, and what it becomes.
struct PlannedTensor {
  /// How rows are put in another order.
  enum Order: Equatable {
    case same
    /// Within each of so many heads: rows i and i + size / 2 become neighbours, llama.cpp's order of rotary pairs.
    case adjacent(heads: Int)
    /// The reverse.
    case halves(heads: Int)
    /// Rows become columns.
    case transposed
  }

  let source: TensorEntry
  let layout: TensorLayout
  private let type: ElementType?  // nil: bytes as they are
  private let order: Order

  /// Whole numbers keep their bytes; what holds real numbers becomes `type`.
  init(_ source: TensorEntry, name: String? = nil, type: ElementType, order: Order = .same, in path: String)
    throws
  {
    self.source = source
    self.order = order
    let isWhole = ["I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL"].contains(source.typeName)
    guard isWhole || source.type.map(ElementType.weights.contains) == true else {
      let known = ElementType.weights.map(\.rawValue).joined(separator: ", ")
      throw ModelError("\(path): the tensor \(source.name) is of type \(source.typeName); known: \(known)")
    }
    self.type = isWhole || (source.type == type && order == .same) ? nil : type
    let shape = order == .transposed ? source.shape.reversed() : source.shape
    layout = TensorLayout(
      name: name ?? source.name, shape: shape, typeName: self.type?.rawValue ?? source.typeName.lowercased(),
      byteCount: self.type?.bytes(source.elementCount) ?? source.byteCount)
  }

  /// About so many elements are in memory at a time, and at least a row.
  private static let pieceElements = 1 << 19

  /// Appends the tensor to `file`; where it is there already, from byte `written` on, only its error is found.
  func convert(of tensors: any TensorFile, in file: PartialFile, written: Int?) throws -> Conversion.Tensor {
    defer { tensors.release(source) }
    var error = Deviation()
    if let type, let from = source.type {
      let bytes = try tensors.bytes(of: source)
      // The rows of a vector that is put in another order are its elements.
      let isVector = layout.shape.count == 1 && order != .same
      let columns = isVector ? 1 : layout.shape.last ?? 1
      let rows = source.elementCount / max(columns, 1)
      let piece = max(1, Self.pieceElements / max(columns, 1))
      let transposed = order == .transposed ? from.decoded(bytes) : []
      for first in stride(from: 0, to: rows, by: piece) {
        let range = first..<min(first + piece, rows)
        let values: [Float]
        if order == .transposed {
          values = range.flatMap { row in (0..<columns).map { Float(transposed[$0 * rows + row]) } }
        } else {
          values = self.rows(range, of: bytes, from, rows: rows, columns: columns)
        }
        let place = written.map { $0 + type.bytes(first * columns) }
        do {
          let stored =
            try place.map { try file.read($0..<$0 + type.bytes(values.count)) } ?? type.quantised(values)
          stored.withUnsafeBytes { error.add(values, type.decoded($0)) }
          if place == nil { try file.append(stored) }
        } catch let problem as FlashCLError {
          throw ModelError("\(tensors.path): the tensor \(source.name): \(problem)")
        }
      }
    } else if written == nil {
      let bytes = tensors.stored(source)
      for begin in stride(from: 0, to: bytes.count, by: 1 << 22) {
        try file.append(UnsafeRawBufferPointer(rebasing: bytes[begin..<min(begin + 1 << 22, bytes.count)]))
      }
    }
    return Conversion.Tensor(
      name: layout.name, from: source.typeName.lowercased(), to: layout.typeName, byteCount: layout.byteCount,
      rms: error.rms, size: error.size, largest: error.largest)
  }

  /// Rows of the result, read from where the source has them.
  private func rows(
    _ range: Range<Int>, of bytes: UnsafeRawBufferPointer, _ type: ElementType, rows: Int, columns: Int
  )
    -> [Float]
  {
    let rowBytes = type.bytes(columns)
    func decoded(_ rows: Range<Int>) -> [Float] {
      type.decoded(
        UnsafeRawBufferPointer(rebasing: bytes[rows.lowerBound * rowBytes..<rows.upperBound * rowBytes])
      ).map { Float($0) }
    }
    switch order {
    case .adjacent(let heads):
      let size = rows / heads
      return range.flatMap { row in
        let (head, place) = (row / size * size, row % size)
        let from = head + place % 2 * (size / 2) + place / 2
        return decoded(from..<from + 1)
      }
    case .halves(let heads):
      let size = rows / heads
      return range.flatMap { row in
        let (head, place) = (row / size * size, row % size)
        let from = head + place % (size / 2) * 2 + place / (size / 2)
        return decoded(from..<from + 1)
      }
    case .same, .transposed: return decoded(range)
    }
  }
}

/// How far numbers moved.
private struct Deviation {
  private var (count, squares, sizes) = (0, 0.0, 0.0)
  private(set) var largest = 0.0

  mutating func add(_ old: [Float], _ new: [Double]) {
    for (old, new) in zip(old, new) {
      let difference = abs(new - Double(old))
      squares += difference * difference
      sizes += Double(old) * Double(old)
      largest = max(largest, difference)
    }
    count += old.count
  }

  var rms: Double { count == 0 ? 0 : (squares / Double(count)).squareRoot() }
  var size: Double { count == 0 ? 0 : (sizes / Double(count)).squareRoot() }
}
