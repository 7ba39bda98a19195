import FlashCL

/// An encoder's head: y = output · layerNorm(activation(dense · x + b)) + c, where the inner layer and its norm may be missing.
struct ScoringHead {
  /// Names of the tensors, without `.weight`.
  struct Names {
    let task: EncoderTask
    let output: String
    /// The output's bias where it is no neighbour of the weight.
    var bias: String?
    var dense: String?
    /// Nil: the model's own.
    var activation: Activation?
    var norm: String?

    init(
      _ task: EncoderTask, _ output: String, bias: String? = nil, dense: String? = nil,
      _ activation: Activation? = nil,
      norm: String? = nil
    ) {
      (self.task, self.output, self.bias) = (task, output, bias)
      (self.dense, self.activation, self.norm) = (dense, activation, norm)
    }

    /// BERT's head of masked tokens.
    static let predictions = Names(
      .maskedToken, "cls.predictions.decoder", bias: "cls.predictions.bias",
      dense: "cls.predictions.transform.dense",
      norm: "cls.predictions.transform.LayerNorm")
  }

  private struct Inner {
    let weight: Weight  // [inner width, width]
    let bias: Tensor  // [inner width]
    let activation: Activation
    let norm: (gain: Tensor, bias: Tensor)?  // [inner width]
  }

  let task: EncoderTask
  private let inner: Inner?
  private let output: Weight  // [classes, width or inner width]
  private let bias: Tensor?  // [classes]
  private let epsilon: Float

  /// `tied` is the table of tokens, where the file leaves the output out.
  init(
    _ c: Checkpoint, _ names: Names, width: Int, classes: Int, activation: Activation, epsilon: Float,
    tied: Weight?
  ) throws {
    task = names.task
    self.epsilon = epsilon
    let innerWidth = tied?.inputs ?? width
    inner = try names.dense.map { name in
      Inner(
        weight: try c.weight("\(name).weight", [innerWidth, width]),
        bias: try c.vector("\(name).bias", innerWidth),
        activation: names.activation ?? activation, norm: try names.norm.map { try c.norm($0, innerWidth) })
    }
    let classes = names.task == .span ? 2 : classes
    if let tied {
      output = try c.optionalWeight("\(names.output).weight", [classes, innerWidth]) ?? tied
    } else {
      output = try c.weight("\(names.output).weight", [classes, innerWidth])
    }
    let biases = ["\(names.output).bias"] + (names.bias.map { [$0] } ?? [])
    bias = try biases.first(where: c.has).map { try c.vector($0, classes) }
  }

  /// The scores of rows `[rows, width]`, `[rows, classes]`.
  func scores(_ rows: Tensor, on backend: any Backend) throws -> Tensor {
    var x = rows
    if let inner {
      x = try backend.linear(x, inner.weight, bias: inner.bias, activation: inner.activation, phase: .prefill)
      if let norm = inner.norm {
        x = try backend.layerNorm(x, gain: norm.gain, bias: norm.bias, epsilon: epsilon)
      }
    }
    return try backend.linear(x, output, bias: bias, phase: .prefill)
  }
}
