import FlashCL
import FlashCLFiles

// The tensors of a checkpoint: by name, of the expected shape, finite.

extension Checkpoint {
  /// True where a file has the tensor; a model of random weights has none beyond those that it must have.
  func has(_ name: String) -> Bool {
    if case .file(let file) = tensors { return file.entry(named: stored(name)) != nil }
    return false
  }

  /// A matrix of one row, which GGUF may hold as a vector, `[1, inputs]`.
  func row(_ name: String, _ inputs: Int) throws -> Weight {
    guard case .file(let file) = tensors, file.entry(named: stored(name))?.shape == [inputs] else {
      return try weight(name, [1, inputs])
    }
    return try weight(floats(name, [inputs]), named: name, [1, inputs])
  }

  /// The name that the file has for it.
  private func stored(_ name: String) -> String { format == .gguf ? names.tensor(name) : prefix + name }

  /// The tensor of that name, which must have this shape.
  private func entry(_ name: String, _ shape: [Int]) throws -> TensorEntry {
    let entry: TensorEntry?
    let name = stored(name)
    switch tensors {
    case .file(let file): entry = file.entry(named: name)
    case .random(let weights): entry = weights.entry(name, shape)
    }
    guard let entry else { throw error("the tensor \(name) is missing") }
    guard entry.shape == shape else {
      throw error("the tensor \(name) is \(entry.shape), expected \(shape)")
    }
    return entry
  }

  private func bytes(of entry: TensorEntry) throws -> UnsafeRawBufferPointer {
    switch tensors {
    case .file(let file): try file.bytes(of: entry)
    case .random(let weights): weights.bytes(of: entry)
    }
  }

  private func release(_ entry: TensorEntry) {
    switch tensors {
    case .file(let file): file.release(entry)
    case .random(let weights): weights.release(entry)
    }
  }

  /// Rows of a table with this many columns: how a vocabulary's size is found.
  func rows(_ name: String, columns: Int) throws -> Int {
    guard case .file(let file) = tensors else {
      return try size(name.contains("token_type") ? "type_vocab_size" : "vocab_size")
    }
    let name = stored(name)
    guard let entry = file.entry(named: name) else { throw error("the tensor \(name) is missing") }
    guard entry.shape.count == 2, entry.shape[1] == columns, entry.shape[0] > 0 else {
      throw error("the tensor \(name) is \(entry.shape), expected [rows, \(columns)]")
    }
    return entry.shape[0]
  }

  /// A vector of f32, whatever its storage.
  func vector(_ name: String, _ count: Int) throws -> Tensor { try tensor(name, [count]) }

  /// A tensor of f32, whatever its storage.
  func tensor(_ name: String, _ shape: [Int]) throws -> Tensor {
    try backend.tensor(try floats(name, shape), shape)
  }

  /// A layer norm's gain and bias.
  func norm(_ name: String, _ count: Int) throws -> (gain: Tensor, bias: Tensor) {
    (gain: try vector("\(name).weight", count), bias: try vector("\(name).bias", count))
  }

  /// The elements of a tensor of that shape, row-major.
  func floats(_ name: String, _ shape: [Int]) throws -> [Float] {
    let entry = try entry(name, shape)
    let count = shape.reduce(1, *)
    let bytes = try bytes(of: entry)
    let values: [Float]
    switch entry.type {
    case .f32: values = (0..<count).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    case .f16:
      values = (0..<count).map { Float(bytes.loadUnaligned(fromByteOffset: 2 * $0, as: Float16.self)) }
    case .bf16:
      values = (0..<count).map {
        Float(bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)) << 16)
      }
    default: throw error("the tensor \(name) is of type \(entry.typeName), expected f32, f16 or bf16")
    }
    guard values.allSatisfy(\.isFinite) else { throw error("the tensor \(name) holds NaN or infinity") }
    return values
  }

  /// A weight `[outputs, inputs]`, laid out for the backend.
  func weight(
    _ name: String, _ shape: [Int], order: WeightSource.Order = .outputsByInputs
  ) throws -> Weight {
    try prepare([Rows(name, [shape[0], shape[1]])], inputs: shape[1], order: order)
  }

  /// The rows of a table from `first` on, `[rows, columns]`: BART's positions begin with the third.
  func table(_ name: String, from first: Int, _ shape: [Int]) throws -> Weight {
    let entry = try entry(name, [first + shape[0], shape[1]])
    let bytes = try bytes(of: entry)
    guard let type = entry.type, ElementType.weights.contains(type), isFinite(bytes, type) else {
      throw error("the tensor \(name) of type \(entry.typeName) holds no finite numbers")
    }
    defer { release(entry) }
    return try backend.prepare([
      WeightSource(
        name: name, outputs: shape[0], inputs: shape[1], type: type,
        bytes: UnsafeRawBufferPointer(rebasing: bytes[type.bytes(first * shape[1])...]))
    ])
  }

  /// A weight that some files leave out; nil where it is missing.
  func optionalWeight(_ name: String, _ shape: [Int]) throws -> Weight? {
    has(name) ? try weight(name, shape) : nil
  }

  /// Rows of a matrix in the file: all of them, or some of heads that lie interleaved, or of one expert among several.
  struct Rows {
    let name: String  // without `.weight`
    /// Its axes in the file; the rows are those of all axes but the last.
    let stored: [Int]
    let range: Range<Int>

    init(_ name: String, _ stored: [Int], _ range: Range<Int>? = nil) {
      (self.name, self.stored) = (name, stored)
      self.range = range ?? 0..<stored.dropLast().reduce(1, *)
    }
  }

  /// Rows of weights with the same inputs as one, stacked by outputs.
  func weight(_ rows: [Rows], inputs: Int) throws -> Weight {
    try prepare(
      rows.map { Rows("\($0.name).weight", $0.stored, $0.range) }, inputs: inputs, order: .outputsByInputs)
  }

  /// The biases that belong to these rows; nil where none of them exists, 0 for a missing one.
  func bias(_ rows: [Rows]) throws -> Tensor? {
    guard rows.contains(where: { has("\($0.name).bias") }) else { return nil }
    let values = try rows.flatMap { rows in
      try has("\(rows.name).bias")
        ? Array(floats("\(rows.name).bias", [rows.stored.dropLast().reduce(1, *)])[rows.range])
        : [Float](repeating: 0, count: rows.range.count)
    }
    return try backend.tensor(values, [values.count])
  }

  /// Several weights with the same inputs as one, stacked by outputs; names are without `.weight`.
  func stacked(_ parts: [(name: String, outputs: Int)], inputs: Int) throws -> Weight {
    try weight(parts.map { Rows($0.name, [$0.outputs, inputs]) }, inputs: inputs)
  }

  /// The biases that belong to `stacked`; nil where none of them exists, 0 for a missing one.
  func stackedBias(_ parts: [(name: String, outputs: Int)]) throws -> Tensor? {
    try bias(parts.map { Rows($0.name, [$0.outputs, 1]) })
  }

  /// Weights that their file holds with more axes than two, each `stored`, as one, stacked by outputs.
  func stacked(_ names: [String], stored: [Int], outputs: Int, inputs: Int, order: WeightSource.Order) throws
    -> Weight
  {
    try prepare(names.map { Rows($0, stored, 0..<outputs) }, inputs: inputs, order: order, isWhole: true)
  }

  /// A weight `[outputs, inputs]` that was made of a file's tensors.
  func weight(_ values: [Float], named name: String, _ shape: [Int]) throws -> Weight {
    try values.withUnsafeBytes {
      try backend.prepare([
        WeightSource(name: name, outputs: shape[0], inputs: shape[1], type: .f32, bytes: $0)
      ])
    }
  }

  /// `isWhole`: the rows' number is that of outputs, whatever the tensor's axes are in the file.
  private func prepare(
    _ rows: [Rows], inputs: Int, order: WeightSource.Order, isWhole: Bool = false
  ) throws -> Weight {
    var entries: [TensorEntry] = []
    var checked: Set<String> = []
    let sources = try rows.map { rows in
      let isTransposed = order == .inputsByOutputs
      let entry = try entry(
        rows.name, isTransposed && !isWhole ? rows.stored.reversed() : rows.stored)
      guard let type = entry.type, type != .i32, !isTransposed || !type.isQuantised,
        inputs % type.blockLength == 0
      else {
        throw error("the weight \(entry.name) cannot be of type \(entry.typeName) with rows of \(inputs)")
      }
      var bytes = try bytes(of: entry)
      if checked.insert(entry.name).inserted {
        guard isFinite(bytes, type) else { throw error("the tensor \(entry.name) holds NaN or infinity") }
        entries.append(entry)
      }
      if !isTransposed && !isWhole {
        let bounds = type.bytes(rows.range.lowerBound * inputs)..<type.bytes(rows.range.upperBound * inputs)
        bytes = UnsafeRawBufferPointer(rebasing: bytes[bounds])
      }
      return try WeightSource(
        name: entry.name, outputs: rows.range.count, inputs: inputs, type: type, order: order, bytes: bytes)
    }
    let weight = try backend.prepare(sources)
    for entry in entries { release(entry) }
    return weight
  }

  /// True when no element, or no scale of a block, is NaN or infinite: its exponent bits are not all ones.
  private func isFinite(_ bytes: UnsafeRawBufferPointer, _ type: ElementType) -> Bool {
    // What goes nowhere need not be read.
    if (backend as? any RehearsingBackend)?.isImagined == true { return true }
    func none<T: FixedWidthInteger>(_: T.Type, mask: T, at first: Int = 0, step: Int) -> Bool {
      var found = false
      for place in stride(from: first, to: bytes.count, by: step) {
        found = found || bytes.loadUnaligned(fromByteOffset: place, as: T.self) & mask == mask
      }
      return !found
    }
    return switch type {
    case .f32: none(UInt32.self, mask: 0x7f80_0000, step: 4)
    case .f16: none(UInt16.self, mask: 0x7c00, step: 2)
    case .bf16: none(UInt16.self, mask: 0x7f80, step: 2)
    case .i32, .bool: true
    default:
      type.scaleOffsets.allSatisfy { none(UInt16.self, mask: 0x7c00, at: $0, step: type.blockBytes) }
    }
  }
}
