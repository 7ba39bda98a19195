import FlashCL
import FlashCLRuntime

extension Linear: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Linear>] {
    // Nobody's defaults come last: matrix units, because x is rounded for them, and the library's product, because its order of
    // summation may change with the size.
    traits.order(gpu: [group, tiled], cpu: [lanes, blocks], any: [items]) + [matrix, clblast]
  }

  static let tunables = [slices, groups, rows, tilesAbreast]

  private static let itemsFile = KernelFile("linear_items", including: ["norm", "weights", "linear"])
  private static let groupFile = KernelFile("linear_group", including: ["norm", "weights", "linear"])
  private static let tiledFile = KernelFile("linear_tiled", including: ["weights", "linear"])
  private static let blocksFile = KernelFile("linear_blocks", including: ["weights", "linear"])

  private static let items = Strategy<Linear>("items") { op, launcher in
    try op.launchFused("linear_items", in: itemsFile, launcher) { outputs in ([outputs, op.x.rows], nil) }
  }

  /// Slices of the inputs that a group sums side by side: 16 · 8 = 128 items; SLICES in the kernel.
  private static let slices = Tunable(Linear.self, "slices", of: [4, 8, 16], for: ["group"]) { _ in 8 }

  private static let group = Strategy<Linear>(
    "group",
    unfit: { op, traits in
      op.phase == .decode
        // Two sums of each item, and a float2 for the norm's.
        ? traits.unfit(items: 16 * traits[slices], localBytes: (2 * 4 + 8) * 16 * traits[slices])
        : "sums in decode's order"
    }
  ) { op, launcher in
    let slices = launcher.traits[slices]
    try op.launchFused("linear_group", in: groupFile, launcher, ["SLICES": "\(slices)"]) { outputs in
      ([tiles(outputs) * 16, slices, op.x.rows], [16, slices, 1])
    }
  }

  private static let tiled = Strategy<Linear>(
    "tiled",
    unfit: { op, traits in
      op.prefillUnfit ?? traits.unfit(items: 256, localBytes: 2 * 32 * 65 * 4)
    }
  ) { op, launcher in
    for part in try op.weight.parts() {
      try op.launch(
        "linear_tiled", in: tiledFile, launcher, part,
        global: [(part.outputs + 63) / 64 * 16, (op.x.rows + 63) / 64 * 16], local: [16, 16])
    }
  }

  /// Rows for which an item expands its weights once, at most; ROWS in the kernel, where 8 or 6 of them are summed abreast.
  private static let rows = Tunable(
    Linear.self, "rows", of: [24, 48, 120], for: ["blocks"], intensity: { 2 * Double($0) / 4 }
  ) { _ in 120 }

  /// Tiles of an item side by side: three where sixteen floats are one register, of which there are 32 then.
  private static let tilesAbreast = Tunable(Linear.self, "tiles", of: [1, 3], for: ["blocks"]) {
    $0.vectorWidth >= 16 ? 3 : 1
  }

  private static let blocks = Strategy<Linear>(
    "blocks", unfit: { op, _ in op.prefillUnfit }
  ) { op, launcher in
    let (abreast, rows) = (launcher.traits[tilesAbreast], launcher.traits[rows])
    for part in try op.weight.parts() {
      let columns = (tiles(part.outputs) + abreast - 1) / abreast
      // Four items for each compute unit, or more, where there are rows enough: no unit waits long for the last.
      let fair = op.x.rows * columns / (4 * launcher.queue.device.computeUnits)
      let height = min(rows, max(24, fair / 24 * 24))
      try op.launch(
        "linear_blocks", in: blocksFile, launcher, part, ["ROWS": "\(rows)", "TILES": "\(abreast)"],
        global: [columns, (op.x.rows + height - 1) / height], local: [1, 1], extra: [.uint(height)])
    }
  }

  static func tiles(_ outputs: Int) -> Int { (outputs + 15) / 16 }

  var prefillUnfit: String? {
    if phase != .prefill { return "sums in prefill's order" }
    return norm == nil && !isGated ? nil : "takes rows and gates as they are"
  }

  private func launch(
    _ kernel: String, in file: KernelFile, _ launcher: Launcher, _ part: TiledWeight.Part,
    _ defines: Defines = [:],
    global: [Int], local: [Int], extra: [Operand] = []
  ) throws {
    try launcher.launch(
      kernel, in: file, ["W_TYPE": part.type.rawValue] + defines, global: global, local: local,
      [.tensor(x)]
        + operands(part, outputs: part.outputs, bias, activation, residual, [.tensor(y)], columns) + extra)
  }

  /// Norm and gate included: `shape` is the launch's for so many outputs.
  func launchFused(
    _ kernel: String, in file: KernelFile, _ launcher: Launcher, _ defines: Defines = [:],
    _ shape: (_ outputs: Int) -> (global: [Int], local: [Int]?),
    extra: (TiledWeight.Part, _ outputs: Int) -> [Operand] = { _, _ in [] }
  ) throws {
    let parts = try weight.parts()
    // A gate's halves side by side in one buffer, both of whole tiles, are computed together.
    let isTogether = isGated && parts.count == 1 && columns % 16 == 0
    let isApart = isGated && !isTogether
    let product = isApart ? try launcher.queue.allocate(4 * x.rows * weight.outputs) : nil
    for part in parts {
      let outputs = isTogether ? columns : part.outputs
      let (global, local) = shape(outputs)
      try launcher.launch(
        kernel, in: file, ["W_TYPE": part.type.rawValue] + defines, global: global, local: local,
        [.tensor(x)]
          + operands(
            part, outputs: outputs, bias, isApart ? .none : activation, isApart ? nil : residual,
            product.map { [.buffer($0), .ulong(0)] } ?? [.tensor(y)], isApart ? weight.outputs : columns)
          + [
            .int(norm.code), .tensor(norm?.gain), .tensor(norm?.bias), .float(norm?.epsilon ?? 0),
            .uint(isTogether ? columns / 16 : 0),
          ] + extra(part, outputs))
    }
    guard let product else { return }
    try launcher.launch(
      "linear_gate", in: Self.itemsFile, ["W_TYPE": parts[0].type.rawValue], global: [columns, x.rows],
      [
        .buffer(product), .tensor(residual), .tensor(y), .uint(x.rows), .uint(columns), .int(activation.code),
      ])
  }

  /// What all kernels take after x.
  private func operands(
    _ part: TiledWeight.Part, outputs: Int, _ bias: Tensor?, _ activation: Activation, _ residual: Tensor?,
    _ y: [Operand], _ stride: Int
  ) -> [Operand] {
    [.buffer(part.tiles), .tensor(bias), .tensor(residual)] + y + [
      .uint(x.rows), .uint(x.columns), .uint(outputs), .uint(stride), .uint(part.first),
      .int(activation.code),
    ]
  }
}

extension Norm? {
  /// How Kernels/norm.cl numbers norms.
  var code: Int {
    switch self {
    case nil: 0
    case .rms: 1
    case .layer: 2
    }
  }
}

extension Activation {
  /// ACTIVATION_… in Kernels/prelude.cl.
  var code: Int {
    switch self {
    case .none: 0
    case .relu: 1
    case .gelu: 2
    case .geluTanh: 3
    case .silu: 4
    case .tanh: 5
    }
  }
}
