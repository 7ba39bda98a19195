import FlashCL
import FlashCLRuntime

extension Linear {
  private static let lanesFile = KernelFile(
    "linear_lanes", including: ["norm", "weights", "linear", "linear_decode"])

  /// Groups for each compute unit: enough to keep the units busy to the end, few enough that starting one, and making rows ready
  /// for it, costs little.
  static let groups = Tunable(Linear.self, "groups", of: [4, 8, 16, 32], for: ["lanes"]) { _ in 8 }

  static let lanes = Strategy<Linear>(
    "lanes",
    unfit: { op, traits in
      op.phase == .decode
        ? traits.unfit(items: 1, localBytes: preparedBytes(op.x.columns)) : "sums in decode's order"
    }
  ) { op, launcher in
    if try !launcher.chain.add(op) { try op.launchLanes(launcher) }
  }

  func launchLanes(_ launcher: Launcher) throws {
    try launchFused("linear_lanes", in: Self.lanesFile, launcher) { outputs in
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
  static func launchChain(_ stages: [(op: Linear, part: TiledWeight.Part)], _ launcher: Launcher)
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
      "linear_chain", in: lanesFile, ["W_TYPE": part.type.rawValue],
      global: [launcher.queue.device.computeUnits],
      local: [1],
      operands + [
        .uint(op.x.rows), .uint(stages.count), .buffer(try launcher.counters(3)),
        .local(bytes: rows * bytes),
        .uint(rows), .uint(bytes / 4),
      ])
  }

  /// The one part of a weight whose layer can be a stage.
  func stagePart() throws -> TiledWeight.Part? {
    let parts = try weight.parts()
    return parts.count == 1 && (!isGated || columns % 16 == 0) ? parts[0] : nil
  }

  /// A row of x with the sums of its groups of 16 or more, whole vectors: what an item of `lanes` keeps of it.
  static func preparedBytes(_ inputs: Int) -> Int { 4 * ((inputs + (inputs + 15) / 16 + 15) / 16 * 16) }
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
