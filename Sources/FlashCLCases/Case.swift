import FlashCL

/// One claim: an operation on given data agrees with the reference to a tolerance.
public struct Case: Sendable {
  public enum Purpose: Sendable {
    /// Small shapes that straddle every width a kernel may have, and data that attack it.
    case check
    /// Representative shapes of real models, to be timed.
    case bench
  }

  public let operation: String
  public let type: ElementType
  public let purpose: Purpose
  let parameters: String
  let tolerances: [Tolerance]  // one for all outputs, or one for each
  let build: @Sendable (Workbench) throws -> Trial

  init(
    _ operation: any Operation.Type, _ type: ElementType,
    _ parameters: KeyValuePairs<String, any CustomStringConvertible>, _ tolerances: Tolerance...,
    purpose: Purpose = .check, build: @escaping @Sendable (Workbench) throws -> any Operation
  ) {
    self.init(operation, type, parameters, tolerances, purpose) { Trial(try build($0)) }
  }

  init(
    _ operation: any Operation.Type, _ type: ElementType,
    _ parameters: KeyValuePairs<String, any CustomStringConvertible>, _ tolerances: [Tolerance],
    _ purpose: Purpose, build: @escaping @Sendable (Workbench) throws -> Trial
  ) {
    self.operation = operation.name
    self.type = type
    self.purpose = purpose
    self.parameters = parameters.map { "\($0)=\($1)" }.joined(separator: ",")
    self.tolerances = tolerances
    self.build = build
  }

  /// The printed name, which is also the filter that repeats the case: `gelu(strategy=rows,type=f16,rows=3)`.
  public func name(strategy: String? = nil) -> String {
    let strategy = strategy.map { "strategy=\($0)," } ?? ""
    return "\(operation)(\(strategy)type=\(type.rawValue)\(parameters.isEmpty ? "" : ",")\(parameters))"
  }

  /// The data of a case depend on its name alone (FNV-1a).
  var seed: UInt64 { name().utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 } }
}

/// A case on one backend: the operation under test and, where it has no outputs of its own, one that shows
/// what it did.
struct Trial {
  let operation: any Operation
  let witness: (any Operation)?

  init(_ operation: any Operation, witness: (any Operation)? = nil) {
    self.operation = operation
    self.witness = witness
  }

  /// The operation whose outputs are judged.
  var judged: any Operation { witness ?? operation }
}

extension Case {
  /// Every table of the project.
  public static var all: [Case] {
    [
      embeddingCases, gatherCases, weightedGatherCases, layerNormCases, rmsNormCases, geluCases,
      siluMultiplyCases,
      geluMultiplyCases, softcapCases, ropeCases, linearCases, linearArgMaxCases,
      attentionCases, attentionWeightsCases, cacheAppendCases, cacheCopyCases, softmaxCases, argMaxCases,
      topKCases,
    ].flatMap { $0 }
  }

  /// The widths on either side of every vector, sub-group and work-group.
  static let widths = [1, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1025, 4097]
}
