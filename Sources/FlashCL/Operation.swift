/// The description of one computation: operands, parameters, and the tensors that receive the result.
///
/// A description is plain data. `OpenCLOperation` says how a device computes it, `ReferenceOperation` what is true.
public protocol Operation {
  /// The one name used everywhere: `layer_norm` here, in `Kernels/layer_norm.cl` and on the command line.
  static var name: String { get }
  /// Throws unless shapes, types and parameters fit together. Backends call it once, before any strategy runs.
  func validate() throws
  /// Tensors that are read. Caches and weights are not listed.
  var inputs: [Tensor] { get }
  /// Tensors that are written, every element.
  var outputs: [Tensor] { get }
  /// Tensors that are read and may hold something else afterwards.
  var overwritten: [Tensor] { get }
  /// Arithmetic and memory traffic of the whole call, counted from the formula.
  var cost: Cost { get }
}

/// What a computation must do at least: operations, and bytes read and written once.
public struct Cost: Sendable {
  public let flops: Double
  public let bytes: Double

  public init(flops: Double, bytes: Double) {
    self.flops = flops
    self.bytes = bytes
  }
}

extension Operation {
  public var overwritten: [Tensor] { [] }
  /// Bytes of all listed inputs and outputs.
  var tensorBytes: Double { (inputs + outputs).reduce(0) { $0 + Double($1.type.bytes($1.count)) } }
}

/// Whether a call works on a whole prompt or on the next few tokens; each phase has one order of summation.
public enum Phase: String, Sendable {
  case prefill, decode
}

extension ElementType {
  /// The types in which activations may be stored.
  public static let activations: [ElementType] = [.f32, .f16, .bf16]
  /// The types in which weights may be stored.
  public static let weights: [ElementType] = [
    .f32, .f16, .bf16, .q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .iq4_nl, .q2_k, .q3_k, .q4_k, .q5_k, .q6_k,
  ]
}
