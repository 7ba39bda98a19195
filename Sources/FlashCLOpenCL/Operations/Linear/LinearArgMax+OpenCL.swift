import FlashCL

extension LinearArgMax: OpenCLOperation {
  static func strategies(on traits: Traits) -> [Strategy<LinearArgMax>] {
    traits.order(gpu: [], cpu: [lanes], any: [apart])
  }

  private static let file = KernelFile(
    "linear_argmax", including: ["norm", "weights", "linear", "linear_decode"])

  /// The two operations one after the other, with the sums between them.
  private static let apart = Strategy<LinearArgMax>("apart") { op, launcher in
    let sums = Tensor(
      shape: [op.x.rows, op.weight.outputs], type: .f32,
      storage: DeviceStorage(try launcher.queue.allocate(4 * op.x.rows * op.weight.outputs)))
    try launcher.compute(
      Linear(x: op.x, weight: op.weight, bias: op.bias, phase: op.phase, y: sums))
    try launcher.compute(ArgMax(x: sums, y: op.y))
  }

  private static let lanes = Strategy<LinearArgMax>(
    "lanes",
    unfit: { op, traits in
      if op.phase != .decode { return "sums in decode's order" }
      guard let parts = try? op.weight.parts(), parts.count == 1 else { return "reads weights of one part" }
      return traits.unfit(items: 1, localBytes: Linear.preparedBytes(op.x.columns))
    }
  ) { op, launcher in
    let part = try op.weight.parts()[0]
    let bytes = Linear.preparedBytes(op.x.columns)
    let rows = Linear.together(op.x.rows, part.type, bytes, launcher.traits)
    let span = Linear.span(part.outputs, launcher)
    let items = (Linear.tiles(part.outputs) + span - 1) / span
    try launcher.launch(
      "linear_argmax_lanes", in: file, ["W_TYPE": part.type.rawValue], global: [items],
      local: [1],
      [
        .tensor(op.x), .buffer(part.tiles), .tensor(op.bias), .tensor(op.y), .uint(op.x.rows),
        .uint(op.x.columns), .uint(part.outputs), .uint(span),
        .buffer(try launcher.queue.allocate(8 * op.x.rows * items)), .buffer(try launcher.counters(1)),
        .local(bytes: rows * bytes), .uint(rows), .uint(bytes / 4),
      ])
  }
}
