import FlashCL

/// Weights as the model's file has them, `[outputs, inputs]`, expanded row by row when they are used.
final class ReferenceWeight: Storage {
  private struct Part {
    let start: Int  // first output
    let type: ElementType
    let bytes: [UInt8]  // [outputs of this part, inputs]
  }
  private let parts: [Part]
  private let inputs: Int

  init(_ sources: [WeightSource]) throws {
    guard let first = sources.first else { throw FlashCLError.shape("a weight needs at least one source") }
    inputs = first.inputs
    var parts: [Part] = []
    var start = 0
    for source in sources {
      guard source.inputs == inputs else {
        throw FlashCLError.shape(
          "weight \(source.name) has \(source.inputs) inputs, \(first.name), stacked with it, \(inputs)")
      }
      guard source.type != .i32, source.type != .bool else {
        throw FlashCLError.unsupported(
          "weight \(source.name) is of type \(source.type.rawValue); weights are real numbers")
      }
      parts.append(Part(start: start, type: source.type, bytes: source.rows()))
      start += source.outputs
    }
    self.parts = parts
  }

  /// The values of row `output`. With `terms`, the sizes of what is added up to make them (`ElementType.expand`): a
  /// kernel may sum a block's offset apart from its steps.
  func row(_ output: Int, terms: Bool = false, into values: UnsafeMutablePointer<Double>) {
    guard let part = parts.last(where: { $0.start <= output }) else { return }
    part.bytes.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      let row = base + part.type.bytes((output - part.start) * inputs)
      if part.type.isQuantised {
        part.type.expand(row, blocks: inputs / part.type.blockLength, terms: terms, into: values)
      } else {
        part.type.decode(row, count: inputs, into: values)
      }
    }
    if terms { for i in 0..<inputs { values[i] = abs(values[i]) } }
  }
}

extension WeightSource {
  /// The bytes, each output's row contiguous.
  fileprivate func rows() -> [UInt8] {
    guard order == .inputsByOutputs else { return [UInt8](bytes) }
    let size = type.blockBytes
    var rows = [UInt8](repeating: 0, count: bytes.count)
    for output in 0..<outputs {
      for input in 0..<inputs {
        for byte in 0..<size {
          rows[(output * inputs + input) * size + byte] = bytes[(input * outputs + output) * size + byte]
        }
      }
    }
    return rows
  }
}

extension Weight {
  func reference() throws -> ReferenceWeight {
    guard let weight = storage as? ReferenceWeight else {
      throw FlashCLError.unsupported("the CPU reference cannot reach a weight of another backend")
    }
    return weight
  }
}
