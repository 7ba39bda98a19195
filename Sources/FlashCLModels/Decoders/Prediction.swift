import FlashCL

/// What comes after tokens that were fed: their last hidden states, from which either scores of the whole vocabulary or the
/// greatest of them alone are made, when one asks.
public struct Prediction {
  let decoder: any Decoder
  let hidden: Tensor  // [rows, width]
  let phase: Phase

  public var backend: any Backend { decoder.backend }

  /// `[rows, vocabulary]`.
  public func logits() throws -> Tensor { try decoder.logits(hidden, phase: phase) }

  /// The id of each row's greatest logit, the first of equals, `[rows]` i32.
  public func greatest() throws -> Tensor { try decoder.greatest(hidden, phase: phase) }
}

extension Decoder {
  public func greatest(_ hidden: Tensor, phase: Phase) throws -> Tensor {
    try backend.argmax(logits(hidden, phase: phase))
  }
}
