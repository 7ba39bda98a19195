import CCLBlast
import FlashCL
import FlashCLRuntime

extension Linear: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<Linear>] {
    // Nobody's defaults come last: matrix units, because x is rounded for them, and the library's product, because its order of
    // summation may change with the size.
    traits.order(gpu: [group, tiled], cpu: [lanes, blocks], any: [items]) + [matrix, clblast]
  }

  static let tunables = [slices, groups, rows, tilesAbreast]

  static let file = KernelFile("linear", including: ["norm", "weights"])

  private static let items = Strategy<Linear>("items") { op, launcher in
    try op.launchFused("linear_items", launcher) { outputs in ([outputs, op.x.rows], nil) }
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
    try op.launchFused("linear_group", launcher) { outputs in
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
        "linear_tiled", launcher, part,
        global: [(part.outputs + 63) / 64 * 16, (op.x.rows + 63) / 64 * 16], local: [16, 16])
    }
  }

  /// Groups for each compute unit: enough to keep the units busy to the end, few enough that starting one, and making rows ready
  /// for it, costs little.
  private static let groups = Tunable(Linear.self, "groups", of: [4, 8, 16, 32], for: ["lanes"]) { _ in 8 }

  private static let lanes = Strategy<Linear>(
    "lanes",
    unfit: { op, traits in
      op.phase == .decode
        ? traits.unfit(items: 1, localBytes: preparedBytes(op.x.columns)) : "sums in decode's order"
    }
  ) { op, launcher in
    if try !launcher.chain.add(op) { try op.launchLanes(launcher) }
  }

  fileprivate func launchLanes(_ launcher: Launcher) throws {
    try launchFused("linear_lanes", launcher) { outputs in
      let span = Self.span(outputs, launcher)
      return ([(Self.tiles(outputs) + span - 1) / span], [1])
    } extra: { part, outputs in
      let bytes = Self.preparedBytes(x.columns)
      let rows = Self.together(x.rows, part.type, bytes, launcher.traits)
      return [
        .uint(Self.span(outputs, launcher)), .local(bytes: rows * bytes), .uint(rows), .uint(bytes / 4),
      ]
    }
  }

  /// Tiles of one item, or of one task of a chain.
  static func span(_ outputs: Int, _ launcher: Launcher) -> Int {
    max(1, tiles(outputs) / (launcher.traits[groups] * launcher.queue.device.computeUnits))
  }

  /// Rows that an item makes ready at once; TOGETHER in the kernel, or 1.
  static func together(_ rows: Int, _ type: ElementType, _ bytes: Int, _ traits: Traits) -> Int {
    type.isQuantised || rows == 1 || 4 * bytes > traits.localMemory ? 1 : 4
  }

  /// Queues layers that follow one another as one launch.
  fileprivate static func launchChain(_ stages: [(op: Linear, part: TiledWeight.Part)], _ launcher: Launcher)
    throws
  {
    let (op, part) = stages[0]
    let bytes = stages.map { preparedBytes($0.op.x.columns) }.max() ?? 0
    let rows = together(op.x.rows, part.type, bytes, launcher.traits)
    // Arguments of stages that there are not: those of the last.
    let filled = stages + [_](repeating: stages[stages.count - 1], count: LinearChain.limit - stages.count)
    let operands = filled.flatMap { op, part -> [Operand] in
      [
        .tensor(op.x), .buffer(part.tiles), .tensor(op.bias), .tensor(op.residual), .tensor(op.y),
        .uint(op.x.columns), .uint(op.columns), .int(op.activation.code), .int(op.norm.code),
        .tensor(op.norm?.gain), .tensor(op.norm?.bias), .float(op.norm?.epsilon ?? 0),
        .uint(op.isGated ? op.columns / 16 : 0), .uint(span(op.columns, launcher)),
      ]
    }
    try launcher.launch(
      "linear_chain", in: file, defines(part.type, launcher), global: [launcher.queue.device.computeUnits],
      local: [1],
      operands + [
        .uint(op.x.rows), .uint(stages.count), .buffer(try launcher.counters(3)),
        .local(bytes: rows * bytes),
        .uint(rows), .uint(bytes / 4),
      ])
  }

  /// The one part of a weight whose layer can be a stage.
  fileprivate func stagePart() throws -> TiledWeight.Part? {
    let parts = try weight.parts()
    return parts.count == 1 && (!isGated || columns % 16 == 0) ? parts[0] : nil
  }

  /// A row of x with the sums of its groups of 16 or more, whole vectors: what an item of `lanes` keeps of it.
  static func preparedBytes(_ inputs: Int) -> Int { 4 * ((inputs + (inputs + 15) / 16 + 15) / 16 * 16) }

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
        "linear_blocks", launcher, part, global: [columns, (op.x.rows + height - 1) / height], local: [1, 1],
        extra: [.uint(height)])
    }
  }

  private static let clblast = Strategy<Linear>(
    "clblast",
    unfit: { op, _ in
      if let reason = op.prefillUnfit { return reason }
      if op.weight.type.isQuantised { return "made for plain weights" }
      return fcl_clblast_available() ? nil : "libclblast.so.1 is not installed"
    }
  ) { op, launcher in
    let (rows, inputs) = (op.x.rows, op.x.columns)
    for part in try op.weight.parts() {
      let plain = try launcher.queue.allocate(4 * part.outputs * inputs)
      let product = try launcher.queue.allocate(4 * rows * part.outputs)
      try launcher.launch(
        "linear_unpack", in: file, defines(part.type, launcher), global: [inputs, part.outputs],
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
        "linear_epilogue", in: file, defines(part.type, launcher), global: [part.outputs, rows],
        [
          .buffer(product), .tensor(op.bias), .tensor(op.residual), .tensor(op.y), .uint(rows),
          .uint(part.outputs),
          .uint(op.weight.outputs), .uint(part.first), .int(op.activation.code),
        ])
    }
  }

  static func tiles(_ outputs: Int) -> Int { (outputs + 15) / 16 }

  var prefillUnfit: String? {
    if phase != .prefill { return "sums in prefill's order" }
    return norm == nil && !isGated ? nil : "takes rows and gates as they are"
  }

  static func defines(_ type: ElementType, _ launcher: Launcher) -> Defines {
    [
      "W_TYPE": type.rawValue, "SLICES": "\(launcher.traits[Self.slices])",
      "ROWS": "\(launcher.traits[Self.rows])", "TILES": "\(launcher.traits[Self.tilesAbreast])",
    ]
  }

  private func launch(
    _ kernel: String, _ launcher: Launcher, _ part: TiledWeight.Part, global: [Int], local: [Int]? = nil,
    extra: [Operand] = []
  ) throws {
    try launcher.launch(
      kernel, in: Self.file, Self.defines(part.type, launcher), global: global, local: local,
      [.tensor(x)]
        + operands(part, outputs: part.outputs, bias, activation, residual, [.tensor(y)], columns) + extra)
  }

  /// Norm and gate included: `shape` is the launch's for so many outputs.
  private func launchFused(
    _ kernel: String, _ launcher: Launcher, _ shape: (_ outputs: Int) -> (global: [Int], local: [Int]?),
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
        kernel, in: Self.file, Self.defines(part.type, launcher), global: global, local: local,
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
      "linear_gate", in: Self.file, Self.defines(weight.type, launcher), global: [columns, x.rows],
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

/// Linear layers by lanes that wait to be queued as one launch: those that follow one another, until anything else is asked for.
///
/// On CPU devices a launch costs as much as a quarter of a small layer: 13 µs between two of 20 to 60 µs (SmolLM2, two cores).
/// A driver that refuses a chain gets its layers one by one, and no other chain.
final class LinearChain {
  /// Stages of linear_chain.
  static let limit = 4
  private unowned let launcher: Launcher
  private var waiting: [(op: Linear, part: TiledWeight.Part)] = []
  private var isRefused = false

  init(_ launcher: Launcher) { self.launcher = launcher }

  /// Takes the layer, to be queued later; false where it cannot be a stage.
  func add(_ op: Linear) throws -> Bool {
    guard !isRefused, launcher.traits.isCPU, launcher.trials.objection(to: "chain", of: Linear.name) == nil,
      let part = try op.stagePart()
    else {
      try flush()
      return false
    }
    if let first = waiting.first,
      waiting.count == Self.limit || first.op.x.rows != op.x.rows || first.part.type != part.type
    {
      try flush()
    }
    waiting.append((op, part))
    return true
  }

  /// Queues what waits.
  func flush() throws {
    guard !waiting.isEmpty else { return }
    let stages = waiting
    waiting = []
    let trials = launcher.trials
    let outer = trials.strategy
    defer { trials.strategy = outer }
    if stages.count > 1, !isRefused {
      trials.strategy = (Linear.name, "chain")
      do { return try Linear.launchChain(stages, launcher) } catch {
        guard trials.refused(error) != nil else { throw error }
        isRefused = true
      }
    }
    trials.strategy = (Linear.name, "lanes")
    for (op, _) in stages { try op.launchLanes(launcher) }
  }
}

extension Norm? {
  /// How Kernels/norm.cl numbers norms.
  fileprivate var code: Int {
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
