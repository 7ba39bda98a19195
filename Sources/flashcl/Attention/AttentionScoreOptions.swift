import ArgumentParser
import FlashCL
import FlashCLFiles

/// What becomes of q·k before the softmax, in this order: kind, scale, softcap, bias and positions, score-mod, sinks.
struct AttentionScoreOptions: ParsableArguments {
  enum Kind: String, ExpressibleByArgument, CaseIterable {
    case scaled, dot, general, gaussian, additive
  }

  @Option(
    parsing: .unconditional,
    help: """
      q·k/√D; q·k; qᵀWk with --score-matrix; −½|q−k|²; wᵀtanh(q·Wq + k·Wk) with --query-weight, --key-weight and \
      --score-weight.
      """)
  var kind = Kind.scaled
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("W of general scores, float32 [D, Dk] or [H, D, Dk].", valueName: "w.npy"))
  var scoreMatrix: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Wq of additive scores, float32 [D, M]; without it q holds q·Wq.", valueName: "w.npy"))
  var queryWeight: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Wk of additive scores, float32 [Dk, M]; without it k holds k·Wk.", valueName: "w.npy")
  )
  var keyWeight: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("w of additive scores, float32 [M].", valueName: "w.npy"))
  var scoreWeight: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The factor of every score: 1/√D for scaled ones, else 1.", valueName: "s"))
  var scale: Float?
  @Option(parsing: .unconditional, help: ArgumentHelp("c·tanh(score/c) bounds the scores.", valueName: "c"))
  var softcap: Float?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Added: float32, broadcast to [B, H, Lq, Lk]; −∞ masks.", valueName: "b.npy"))
  var bias: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Added: −slope·|i + Lk − Lq − j|, with slopes from the head count, or float32 [H].",
      valueName: "default|s.npy"))
  var alibi: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Added at j − i, clipped to −R … R: float32 [H, 2R + 1] or [1, 2R + 1].", valueName: "r.npy"))
  var relativeTable: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("OpenCL C over score, b, h, i, j: the new score.", valueName: "expression"))
  var scoreMod: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("e^sink joins the denominator of each row, float32 [H].", valueName: "s.npy"))
  var sinks: String?

  var paths: [String] {
    [
      scoreMatrix, queryWeight, keyWeight, scoreWeight, bias, relativeTable, sinks,
      alibi == "default" ? nil : alibi,
    ]
    .compactMap { $0 }
  }
  /// True where queries and keys are compared element by element.
  var needsEqualHeads: Bool { kind != .general && kind != .additive }

  func validate() throws {
    if (scoreMatrix != nil) != (kind == .general) {
      throw ValidationError("--kind general and --score-matrix go together")
    }
    if (scoreWeight != nil) != (kind == .additive) {
      throw ValidationError("--kind additive and --score-weight go together")
    }
    if kind != .additive, queryWeight != nil || keyWeight != nil {
      throw ValidationError("--query-weight and --key-weight go with --kind additive")
    }
    if let scale, !scale.isFinite { throw ValidationError("--scale is \(scale)") }
    if let softcap, !(softcap > 0 && softcap.isFinite) {
      throw ValidationError("--softcap is \(softcap); it is above 0")
    }
  }

  /// All options of attention with scores of the shape `[B, H, Lq, Lk]`.
  func options(scores: [Int], mask: AttentionMask, maskMod: String?, on backend: any Backend) throws
    -> AttentionOptions
  {
    func tensor(_ path: String) throws -> Tensor { try AttentionArray(path, .f32).tensor(on: backend) }
    return AttentionOptions(
      mask: mask, kind: try scoreKind(tensor), scale: scale, softcap: softcap,
      bias: try bias.map { try AttentionArray($0, .f32).tensor(on: backend, broadcastTo: scores) },
      alibi: try alibi.map { $0 == "default" ? .standard : .slopes(try tensor($0)) },
      relative: try relativeTable.map { try tensor($0) }, sinks: try sinks.map { try tensor($0) },
      scoreMod: scoreMod.map { ScoreExpression($0) }, maskMod: maskMod.map { ScoreExpression($0) })
  }

  private func scoreKind(_ tensor: (String) throws -> Tensor) throws -> ScoreKind {
    func weight(_ path: String?) throws -> Tensor? { try path.map { try tensor($0) } }
    switch (kind, try weight(scoreMatrix), try weight(scoreWeight)) {
    case (.general, let matrix?, _): return .general(matrix)
    case (.additive, _, let score?):
      return .additive(query: try weight(queryWeight), key: try weight(keyWeight), score: score)
    case (.dot, _, _): return .dot
    case (.gaussian, _, _): return .gaussian
    default: return .scaled
    }
  }
}
