import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLReference

/// One tensor of a conversion: what it is made of, and what it becomes.
struct PlannedTensor {
  /// Where a row comes from: which of the sources, and which of its rows.
  typealias Rows = @Sendable (Int) -> (source: Int, row: Int)

  enum Order {
    case same
    /// Rows of other rows; those of a vector are its elements.
    case rows(Rows)
    /// Rows become columns.
    case transposed
  }

  let layout: TensorLayout
  private let sources: [TensorEntry]
  private let type: ElementType?  // nil: bytes as they are
  private let order: Order
  /// What is added to every number.
  private let offset: Float
  /// Numbers that come from no tensor.
  private let values: [Float]?

  /// A tensor made of others of one type; whole numbers keep their bytes, what holds real numbers becomes `type`.
  ///
  /// `shape` is the first source's, turned where rows become columns, unless it is given.
  init(
    _ sources: [TensorEntry], name: String? = nil, shape: [Int]? = nil, type: ElementType,
    order: Order = .same,
    adding offset: Float = 0, in path: String
  ) throws {
    let source = sources[0]
    for source in sources {
      let isWhole = Self.wholeNumbers.contains(source.typeName)
      guard isWhole || source.type.map(ElementType.weights.contains) == true else {
        let known = ElementType.weights.map(\.rawValue).joined(separator: ", ")
        throw ModelError("\(path): the tensor \(source.name) is of type \(source.typeName); known: \(known)")
      }
      guard source.typeName == sources[0].typeName, source.shape == sources[0].shape else {
        throw ModelError(
          "\(path): the tensors \(sources[0].name) and \(source.name), which become one, differ in type or shape"
        )
      }
    }
    let isSame = if case .same = order { true } else { false }
    let isTransposed = if case .transposed = order { true } else { false }
    let keepsBytes =
      Self.wholeNumbers.contains(source.typeName) || source.type == type && isSame && offset == 0
    (self.sources, self.order, self.offset, values) = (sources, order, offset, nil)
    self.type = keepsBytes ? nil : type
    let shape = shape ?? (isTransposed ? source.shape.reversed() : source.shape)
    layout = TensorLayout(
      name: name ?? source.name, shape: shape, typeName: self.type?.rawValue ?? source.typeName.lowercased(),
      byteCount: self.type?.bytes(shape.reduce(1, *)) ?? source.byteCount)
  }

  /// A vector of f32 that the model's settings make.
  init(_ values: [Float], name: String) {
    (sources, order, offset, type, self.values) = ([], .same, 0, .f32, values)
    layout = TensorLayout(name: name, shape: [values.count], typeName: "f32", byteCount: 4 * values.count)
  }

  private static let wholeNumbers: Set = ["I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL"]

  /// About so many elements are in memory at a time, and at least a row.
  private static let pieceElements = 1 << 19

  /// Appends the tensor to `file`; where it is there already, from byte `written` on, only its error is found.
  func convert(of tensors: any TensorFile, in file: PartialFile, written: Int?) throws -> Conversion.Tensor {
    defer { for source in sources { tensors.release(source) } }
    var error = Deviation()
    if let type {
      let reader = try Reader(self, tensors)
      let count = max(1, Self.pieceElements / max(reader.columns, 1))
      for first in stride(from: 0, to: reader.rows, by: count) {
        let values = reader.values(first..<min(first + count, reader.rows))
        let place = written.map { $0 + type.bytes(first * reader.columns) }
        do {
          let stored =
            try place.map { try file.read($0..<$0 + type.bytes(values.count)) } ?? type.quantised(values)
          stored.withUnsafeBytes { error.add(values, type.decoded($0)) }
          if place == nil { try file.append(stored) }
        } catch let problem as FlashCLError {
          throw ModelError("\(tensors.path): the tensor \(sources.first?.name ?? layout.name): \(problem)")
        }
      }
    } else if written == nil {
      let bytes = tensors.stored(sources[0])
      for begin in stride(from: 0, to: bytes.count, by: 1 << 22) {
        try file.append(UnsafeRawBufferPointer(rebasing: bytes[begin..<min(begin + 1 << 22, bytes.count)]))
      }
    }
    return Conversion.Tensor(
      name: layout.name, from: sources.first?.typeName.lowercased() ?? "settings", to: layout.typeName,
      byteCount: layout.byteCount, rms: error.rms, size: error.size, largest: error.largest)
  }

  /// The result's numbers, row by row, read from where the sources have them.
  private struct Reader {
    let rows: Int
    let columns: Int
    private let plan: PlannedTensor
    private let bytes: [UnsafeRawBufferPointer]
    /// All numbers, where they do not stand row by row.
    private let whole: [Float]

    init(_ plan: PlannedTensor, _ tensors: any TensorFile) throws {
      self.plan = plan
      bytes = try plan.sources.map { try tensors.bytes(of: $0) }
      let shape = plan.layout.shape
      let isReordered = if case .rows = plan.order { true } else { false }
      columns = shape.count == 1 && isReordered ? 1 : shape.last ?? 1
      rows = shape.reduce(1, *) / max(columns, 1)
      if case .transposed = plan.order {
        whole = plan.sources[0].type?.decoded(bytes[0]).map { Float($0) } ?? []
      } else {
        whole = plan.values ?? []
      }
    }

    func values(_ range: Range<Int>) -> [Float] {
      let values: [Float]
      switch plan.order {
      case .same where plan.values != nil:
        values = Array(whole[range.lowerBound * columns..<range.upperBound * columns])
      case .same: values = decoded(0, range)
      case .rows(let rows):
        values = range.flatMap { row in
          let from = rows(row)
          return decoded(from.source, from.row..<from.row + 1)
        }
      case .transposed: values = range.flatMap { row in (0..<columns).map { whole[$0 * rows + row] } }
      }
      return plan.offset == 0 ? values : values.map { $0 + plan.offset }
    }

    private func decoded(_ source: Int, _ rows: Range<Int>) -> [Float] {
      guard let type = plan.sources[source].type else { return [] }
      let rowBytes = type.bytes(columns)
      return type.decoded(
        UnsafeRawBufferPointer(
          rebasing: bytes[source][rows.lowerBound * rowBytes..<rows.upperBound * rowBytes])
      ).map { Float($0) }
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
