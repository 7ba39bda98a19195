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

  /// The values of row `output`. With `terms`, the sizes of what is added up to make them: |d|·(q + 8) for
  /// q4_0, |d|·q + |m| for q4_1, the absolute value otherwise; a kernel may sum a block's offset apart from
  /// its steps.
  func row(_ output: Int, terms: Bool = false, into values: UnsafeMutablePointer<Double>) {
    guard let part = parts.last(where: { $0.start <= output }) else { return }
    let sign: Double = terms ? -1 : 1
    part.bytes.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      var block = base + part.type.bytes((output - part.start) * inputs)
      switch part.type {
      case .f32, .f16, .bf16, .i32, .bool: part.type.decode(block, count: inputs, into: values)
      case .q8_0:
        for i in stride(from: 0, to: inputs, by: 32) {
          let d = half(block)
          for j in 0..<32 { values[i + j] = d * Double(block.load(fromByteOffset: 2 + j, as: Int8.self)) }
          block += 34
        }
      case .q4_0:
        for i in stride(from: 0, to: inputs, by: 32) {
          let d = terms ? abs(half(block)) : half(block)
          nibbles(block + 2, step: d, offset: -8 * sign * d, into: values + i)
          block += 18
        }
      case .q4_1:
        for i in stride(from: 0, to: inputs, by: 32) {
          let (d, m) = (half(block), half(block + 2))
          nibbles(block + 4, step: terms ? abs(d) : d, offset: terms ? abs(m) : m, into: values + i)
          block += 20
        }
      }
    }
    if terms { for i in 0..<inputs { values[i] = abs(values[i]) } }
  }
}

private func half(_ bytes: UnsafeRawPointer) -> Double {
  Double(Float16(bitPattern: bytes.loadUnaligned(as: UInt16.self)))
}

/// 32 values step · nibble + offset of 16 bytes: the low halves first.
private func nibbles(
  _ bytes: UnsafeRawPointer, step: Double, offset: Double, into values: UnsafeMutablePointer<Double>
) {
  for j in 0..<16 {
    let byte = bytes.load(fromByteOffset: j, as: UInt8.self)
    values[j] = step * Double(byte & 15) + offset
    values[j + 16] = step * Double(byte >> 4) + offset
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
