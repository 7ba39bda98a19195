import FlashCL

/// How stored numbers become Double and back. Every stored value is exact in Double; storing rounds to
/// nearest, ties to even.
extension ElementType {
  /// The values of `count` elements, `stride` elements apart. Plain types only.
  func decode(
    _ bytes: UnsafeRawPointer, stride: Int = 1, count: Int, into values: UnsafeMutablePointer<Double>
  ) {
    let step = stride * blockBytes
    var source = bytes
    for i in 0..<count {
      switch self {
      case .f32: values[i] = Double(source.loadUnaligned(as: Float.self))
      case .i32: values[i] = Double(source.loadUnaligned(as: Int32.self))
      case .bool: values[i] = source.load(as: UInt8.self) == 0 ? 0 : 1
      case .f16: values[i] = Double(Float16(bitPattern: source.loadUnaligned(as: UInt16.self)))
      case .bf16: values[i] = Double(Float(bitPattern: UInt32(source.loadUnaligned(as: UInt16.self)) << 16))
      default: preconditionFailure("quantised elements are decoded by blocks")
      }
      source += step
    }
  }

  /// Stores `count` values, rounded, `stride` elements apart. Plain types only; i32 takes what Int32 can
  /// hold.
  func encode(
    _ values: UnsafePointer<Double>, stride: Int = 1, count: Int, into bytes: UnsafeMutableRawPointer
  ) {
    let step = stride * blockBytes
    var target = bytes
    for i in 0..<count {
      let value = values[i]
      switch self {
      case .f32: target.storeBytes(of: Float(value), as: Float.self)
      case .i32: target.storeBytes(of: Int32(value), as: Int32.self)
      case .bool: target.storeBytes(of: value == 0 ? 0 : 1, as: UInt8.self)
      case .f16: target.storeBytes(of: Float16(value).bitPattern, as: UInt16.self)
      case .bf16: target.storeBytes(of: bfloat(Float(value)), as: UInt16.self)
      default: preconditionFailure("quantised elements are stored by blocks")
      }
      target += step
    }
  }

  /// The value that comes back when this one is stored.
  public func rounded(_ value: Double) -> Double {
    switch self {
    case .f32: Double(Float(value))
    case .f16: Double(Float16(value))
    case .bf16: Double(Float(bitPattern: UInt32(bfloat(Float(value))) << 16))
    case .bool: value == 0 ? 0 : 1
    default: value
    }
  }

  /// The values that these bytes stand for; of a quantised type whole blocks.
  public func decoded(_ bytes: UnsafeRawBufferPointer) -> [Double] {
    let blocks = bytes.count / blockBytes
    guard let base = bytes.baseAddress else { return [] }
    return [Double](unsafeUninitializedCapacity: blocks * blockLength) { values, initialized in
      if let first = values.baseAddress {
        if isQuantised {
          expand(base, blocks: blocks, into: first)
        } else {
          decode(base, count: blocks, into: first)
        }
      }
      initialized = blocks * blockLength
    }
  }

  /// The bytes that store these values in a plain type, rounded to nearest, ties to even.
  public func encoded(_ values: [Double]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: values.count * blockBytes) { bytes, initialized in
      if let base = bytes.baseAddress { encode(values, count: values.count, into: base) }
      initialized = values.count * blockBytes
    }
  }
}

/// The upper half of a Float, rounded to nearest, ties to even; NaN stays NaN.
private func bfloat(_ value: Float) -> UInt16 {
  let bits = value.bitPattern
  if value.isNaN { return UInt16(bits >> 16) | 0x40 }
  return UInt16((bits + 0x7fff + (bits >> 16 & 1)) >> 16)
}

extension Tensor {
  /// The elements, row-major, as Double.
  func load() throws -> [Double] {
    let base = UnsafeRawPointer(try address())
    return [Double](unsafeUninitializedCapacity: count) { values, initialized in
      if let first = values.baseAddress {
        forEachRow { element, row in
          type.decode(
            base + type.bytes(element), stride: strides.last ?? 1, count: columns, into: first + row * columns
          )
        }
      }
      initialized = count
    }
  }

  /// The elements of an i32 tensor, row-major.
  func integers() throws -> [Int] { try load().map { Int($0) } }

  /// Writes dense row-major values, rounded to the tensor's type.
  func store(_ values: [Double]) throws {
    precondition(values.count == count, "\(values.count) values for a tensor of shape \(shape)")
    let base = try address()
    values.withUnsafeBufferPointer { values in
      guard let first = values.baseAddress else { return }
      forEachRow { element, row in
        type.encode(
          first + row * columns, stride: strides.last ?? 1, count: columns, into: base + type.bytes(element))
      }
    }
  }

  /// Where element 0 of the storage lies, after a check that every element of this view lies within the
  /// storage.
  func address() throws -> UnsafeMutableRawPointer {
    guard let storage = storage as? ReferenceStorage else {
      throw FlashCLError.unsupported("the CPU reference cannot reach a tensor of another backend")
    }
    let reach = zip(shape, strides).map { ($0 - 1) * $1 }
    let lowest = offset + reach.filter { $0 < 0 }.reduce(0, +)
    let highest = offset + reach.filter { $0 > 0 }.reduce(0, +)
    guard count == 0 || (lowest >= 0 && type.bytes(highest + type.blockLength) <= storage.byteCount) else {
      throw FlashCLError.shape(
        "a view \(shape) reaches elements \(lowest) to \(highest) of a tensor of \(storage.byteCount) bytes")
    }
    return storage.base
  }

  /// Visits the rows in order: the storage's element where a row starts, and the row's number.
  private func forEachRow(_ body: (Int, Int) -> Void) {
    guard count > 0 else { return }
    for row in 0..<rows {
      var (element, rest) = (offset, row)
      for axis in shape.indices.dropLast().reversed() {
        element += rest % shape[axis] * strides[axis]
        rest /= shape[axis]
      }
      body(element, row)
    }
  }
}
