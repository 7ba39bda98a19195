import CCLBlast
import FlashCL
import FlashCLRuntime

extension Linear: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Linear>] {
    // The library's product comes last: nobody's default, because its order of summation may change with the size.
    traits.order(gpu: [group, tiled], cpu: [lanes, blocks], any: [items]) + [clblast]
  }

  static let tunables = [slices, groups, panels]

  private static let file = KernelFile("linear", including: ["weights"])

  private static let items = Strategy<Linear>("items") { op, launcher in
    for part in try op.weight.parts() {
      try op.launch("linear_items", launcher, part, global: [part.outputs, op.x.rows])
    }
  }

  /// Slices of the inputs that a group sums side by side: 16 · 8 = 128 items; SLICES in the kernel.
  private static let slices = Tunable(Linear.self, "slices", of: [4, 8, 16], for: ["group"]) { _ in 8 }

  private static let group = Strategy<Linear>(
    "group",
    unfit: { op, traits in
      op.phase == .decode
        ? traits.unfit(items: 16 * traits[slices], localBytes: 64 * traits[slices]) : "sums in decode's order"
    }
  ) { op, launcher in
    let slices = launcher.traits[slices]
    for part in try op.weight.parts() {
      try op.launch(
        "linear_group", launcher, part, global: [tiles(part) * 16, slices, op.x.rows], local: [16, slices, 1])
    }
  }

  private static let tiled = Strategy<Linear>(
    "tiled",
    unfit: { op, traits in
      op.phase == .prefill
        ? traits.unfit(items: 256, localBytes: 2 * 32 * 65 * 4) : "sums in prefill's order"
    }
  ) { op, launcher in
    for part in try op.weight.parts() {
      try op.launch(
        "linear_tiled", launcher, part,
        global: [(part.outputs + 63) / 64 * 16, (op.x.rows + 63) / 64 * 16], local: [16, 16])
    }
  }

  /// Groups for each compute unit: enough to keep the units busy to the end, few enough that starting one costs nothing.
  private static let groups = Tunable(Linear.self, "groups", of: [4, 8, 16, 32], for: ["lanes"]) { _ in 16 }

  private static let lanes = Strategy<Linear>(
    "lanes", unfit: { op, _ in op.phase == .decode ? nil : "sums in decode's order" }
  ) { op, launcher in
    for part in try op.weight.parts() {
      let span = max(1, tiles(part) / (launcher.traits[groups] * launcher.queue.device.computeUnits))
      try op.launch(
        "linear_lanes", launcher, part, global: [(tiles(part) + span - 1) / span], local: [1],
        extra: [.uint(span)])
    }
  }

  /// Sixteens of rows for which a block of weights is expanded once; PANELS in the kernel.
  private static let panels = Tunable(
    Linear.self, "panels", of: [1, 2, 4], for: ["blocks"], intensity: { 2 * 16 * Double($0) / 4 }
  ) { _ in 4 }

  private static let blocks = Strategy<Linear>(
    "blocks", unfit: { op, _ in op.phase == .prefill ? nil : "sums in prefill's order" }
  ) { op, launcher in
    let (count, panelsAtOnce) = ((op.x.rows + 15) / 16, launcher.traits[panels])
    let panels = try launcher.queue.allocate(count * 16 * op.x.columns * 4)
    try launcher.launch(
      "linear_panels", in: file, op.defines(.f32, launcher), global: [(op.x.columns + 15) / 16, count],
      [.tensor(op.x), .buffer(panels), .uint(op.x.rows), .uint(op.x.columns)])
    for part in try op.weight.parts() {
      try op.launch(
        "linear_blocks", launcher, part, global: [tiles(part), (count + panelsAtOnce - 1) / panelsAtOnce],
        local: [1, 1], x: [.buffer(panels)])
    }
  }

  private static let clblast = Strategy<Linear>(
    "clblast",
    unfit: { op, _ in
      if op.phase != .prefill { return "sums in prefill's order" }
      if op.weight.type.isQuantised { return "made for plain weights" }
      return fcl_clblast_available() ? nil : "libclblast.so.1 is not installed"
    }
  ) { op, launcher in
    let (rows, inputs) = (op.x.rows, op.x.columns)
    for part in try op.weight.parts() {
      let plain = try launcher.queue.allocate(4 * part.outputs * inputs)
      let product = try launcher.queue.allocate(4 * rows * part.outputs)
      try launcher.launch(
        "linear_unpack", in: file, op.defines(part.type, launcher), global: [inputs, part.outputs],
        [.buffer(part.tiles), .buffer(plain), .uint(inputs), .uint(part.outputs)])
      let x = try op.x.buffer()
      let status = launcher.queue.withRawQueue { raw in
        var queue: OpaquePointer? = raw
        return fcl_CLBlastSgemm(
          CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, rows, part.outputs, inputs, 1,
          x.raw,
          op.x.offset, inputs, plain.raw, 0, inputs, 0, product.raw, 0, part.outputs, &queue, nil)
      }
      guard status == CLBlastSuccess else {
        throw FlashCLError.unsupported(
          "linear by clblast: the library answered with status \(status.rawValue)")
      }
      try launcher.launch(
        "linear_epilogue", in: file, op.defines(part.type, launcher), global: [part.outputs, rows],
        [
          .buffer(product), .tensor(op.bias), .tensor(op.residual), .tensor(op.y), .uint(rows),
          .uint(part.outputs),
          .uint(op.weight.outputs), .uint(part.first), .int(op.activation.code),
        ])
    }
  }

  private static func tiles(_ part: TiledWeight.Part) -> Int { (part.outputs + 15) / 16 }

  private func defines(_ type: ElementType, _ launcher: Launcher) -> Defines {
    [
      "W_TYPE": type.rawValue, "SLICES": "\(launcher.traits[Self.slices])",
      "PANELS": "\(launcher.traits[Self.panels])",
    ]
  }

  private func launch(
    _ kernel: String, _ launcher: Launcher, _ part: TiledWeight.Part, global: [Int], local: [Int]? = nil,
    x operand: [Operand]? = nil, extra: [Operand] = []
  ) throws {
    try launcher.launch(
      kernel, in: Self.file, defines(part.type, launcher), global: global, local: local,
      (operand ?? [.tensor(x)]) + [
        .buffer(part.tiles), .tensor(bias), .tensor(residual), .tensor(y), .uint(x.rows), .uint(x.columns),
        .uint(part.outputs), .uint(weight.outputs), .uint(part.first), .int(activation.code),
      ] + extra)
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
