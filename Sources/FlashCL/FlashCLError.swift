/// What can be wrong with an operation before any device sees it, and what a backend cannot do.
public enum FlashCLError: Error, CustomStringConvertible, Equatable {
  /// Operands that do not fit together: the operation, the operand, what it should be and what it is.
  case shape(String)
  /// A well-formed request that this backend or strategy does not serve.
  case unsupported(String)

  public var description: String {
    switch self {
    case .shape(let text): text
    case .unsupported(let text): text
    }
  }
}

extension Tensor {
  /// Throws unless the tensor has this shape and type; `nil` in a dimension accepts any size.
  func require(
    _ operation: String, _ operand: String, _ shape: [Int?], _ types: [ElementType] = [.f32],
    dense: Bool = true
  ) throws {
    let fits =
      shape.count == self.shape.count && zip(shape, self.shape).allSatisfy { $0 == nil || $0 == $1 }
    let wanted = shape.map { $0.map(String.init) ?? "any" }.joined(separator: ", ")
    guard fits else {
      throw FlashCLError.shape("\(operation): \(operand) should be [\(wanted)] and is \(self.shape)")
    }
    guard types.contains(type) else {
      let names = types.map(\.rawValue).joined(separator: ", ")
      throw FlashCLError.shape("\(operation): \(operand) should be of type \(names) and is \(type.rawValue)")
    }
    guard !dense || isDense else {
      throw FlashCLError.shape("\(operation): \(operand) must be dense; its strides are \(strides)")
    }
  }

  /// Throws unless the tensor has as many axes as `shape`, each of that size or 1, and this type.
  func requireBroadcast(_ operation: String, _ operand: String, to shape: [Int], _ type: ElementType) throws {
    guard self.shape.count == shape.count, zip(self.shape, shape).allSatisfy({ $0 == 1 || $0 == $1 }) else {
      throw FlashCLError.shape(
        "\(operation): \(operand) should be \(shape), or 1 in any axis, and is \(self.shape)")
    }
    try require(operation, operand, self.shape, [type], dense: false)
  }
}
