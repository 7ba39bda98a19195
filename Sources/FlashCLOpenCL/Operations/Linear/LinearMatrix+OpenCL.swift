import FlashCL
import FlashCLRuntime

extension Linear {
  private static let matrixFiles = FragmentLayout.files("linear_matrix")

  /// Products by matrix units, or their emulation; x is rounded to the type of the weights.
  static let matrix = Strategy<Linear>(
    "matrix",
    unfit: { op, traits in
      if let reason = op.prefillUnfit { return reason }
      guard op.fragmentType != nil else { return "made for f16 and bf16 weights" }
      // Tiles of x and of weights, and what four warps exchange.
      return traits.unfit(
        items: 4 * traits.fragments.lanes,
        localBytes: 4 * (64 * 20 + 32 * 36 + traits.fragments.exchangedWords(warps: 4)))
    },
    rounding: { $0.fragmentType.map { Rounding(to: $0) } }
  ) { op, launcher in
    let fragments = launcher.traits.fragments
    let items = 4 * fragments.lanes
    for part in try op.weight.parts() {
      try launcher.launch(
        "linear_matrix", in: matrixFiles[fragments.unit]!, fragments.defines(part.type),
        global: [(part.outputs + 63) / 64 * items, (op.x.rows + 63) / 64], local: [items, 1],
        [
          .tensor(op.x), .buffer(part.tiles), .tensor(op.bias), .tensor(op.residual), .tensor(op.y),
          .uint(op.x.rows), .uint(op.x.columns), .uint(part.outputs), .uint(op.weight.outputs),
          .uint(part.first), .int(op.activation.code),
        ])
    }
  }

  /// What x is rounded to: the type of all parts of the weight; nil where that is none of matrix units.
  private var fragmentType: ElementType? {
    guard [.f16, .bf16].contains(weight.type), let parts = try? weight.parts() else { return nil }
    return parts.allSatisfy { $0.type == weight.type } ? weight.type : nil
  }
}
