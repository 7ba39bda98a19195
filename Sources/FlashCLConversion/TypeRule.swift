import FlashCL
import FlashCLFiles

/// Which tensor of a model is stored in which type when the matrices are to be of type `wanted`.
///
/// Vectors, norms, tables of positions and routers of experts are f32. The output head, or the token table where that is
/// the head too, has at least six bits: q6_k. A matrix whose rows are no whole number of 256 takes the nearest type with
/// blocks of 32 instead of a k type (q2_k, q3_k: iq4_nl; q4_k: q5_0; q5_k: q5_1; q6_k: q8_0), as llama.cpp has it, and
/// one whose rows are no whole number of 32, f16.
public struct TypeRule: Sendable {
  private let wanted: ElementType
  private let head: Set<String>

  init(_ wanted: ElementType, tensors: any TensorFile) {
    self.wanted = wanted
    let heads: Set = ["output.weight", "lm_head.weight"]
    let hasHead = heads.contains { tensors.entry(named: $0) != nil }
    head =
      hasHead
      ? heads : ["token_embd.weight", "model.embed_tokens.weight", "transformer.wte.weight", "wte.weight"]
  }

  private static let plainNames = [
    "norm", "position_embd", "token_types", "ffn_gate_inp", "wpe.", "ln_", "position_embeddings",
    "embed_positions",
    "token_type_embeddings", ".gate.weight", "router",
  ]

  /// The type of a tensor of that name and shape; `name` may be of either format.
  func type(of name: String, _ shape: [Int], transposed: Bool = false) -> ElementType {
    guard shape.count > 1, name.hasSuffix("weight"), !Self.plainNames.contains(where: name.contains) else {
      return .f32
    }
    let columns = shape[shape.count - (transposed ? 2 : 1)]
    var type = wanted
    if head.contains(name), type.isQuantised, type.bytes(256) < ElementType.q6_k.bytes(256) { type = .q6_k }
    if columns % type.blockLength != 0, type.blockLength == 256 {
      switch type {
      case .q2_k, .q3_k: type = .iq4_nl
      case .q4_k: type = .q5_0
      case .q5_k: type = .q5_1
      default: type = .q8_0
      }
    }
    return columns % type.blockLength == 0 ? type : .f16
  }
}

extension GGUF.Metadata {
  /// What llama.cpp calls a file whose matrices are of this type.
  mutating func add(fileType type: ElementType) {
    let numbers: [ElementType: Int] = [
      .f32: 0, .f16: 1, .q4_0: 2, .q4_1: 3, .q8_0: 7, .q5_0: 8, .q5_1: 9, .q2_k: 10, .q3_k: 11, .q4_k: 14,
      .q5_k: 16,
      .q6_k: 18, .iq4_nl: 25, .bf16: 32,
    ]
    if let number = numbers[type] { add("general.file_type", number) }
    add("general.quantization_version", 2)
  }
}
