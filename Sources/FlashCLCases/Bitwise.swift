import FlashCL

// What determinism means, bit for bit: a second run gives what the first gave, and a sequence or row gives alone
// what it gives among its neighbours.

/// An operation over members, such as sequences or rows, none of which may change with its neighbours.
///
/// Operations that only copy and select are none of these: their cases are exact, so `check` itself leaves them no
/// other bits.
protocol Batched: Operation {
  /// What one of them is called.
  static var member: String { get }
  /// How many there are.
  var members: Int { get }
  /// Member `index` alone, with outputs of its own.
  func alone(_ index: Int, on bench: Workbench) throws -> Alone
}

/// One member of a batch as a call of its own.
struct Alone {
  let operation: any Operation
  /// What must be equal: each output's part of the member, and the same from its own call.
  let results: [(among: Tensor, alone: Tensor)]
}

extension Runner {
  /// Of more members than this so many are computed alone, evenly spread, the first and the last among them.
  private static let membersAlone = 16

  /// Says which element has other bits when the case is computed again, or one of its members alone; nil where
  /// none has.
  func difference(_ item: Case, _ strategy: String, _ trial: Trial, _ bench: Workbench) throws -> String? {
    // Members come first: an output may lie over an input.
    var alone: [(name: String, results: [(among: Tensor, alone: Tensor)])] = []
    if let batch = trial.operation as? any Batched {
      for index in indices(batch.members) {
        let name = "\(type(of: batch).member) \(index)"
        let member = try batch.alone(index, on: bench)
        let report = try backend.strategies(for: member.operation).first { $0.name == strategy }
        if let reason = report?.unsupported { return "\(name) alone: \(reason)" }
        try backend.run(member.operation, strategy: strategy)
        alone.append((name, member.results))
      }
    }
    try run(trial, strategy)
    for (name, results) in alone {
      for (i, (among, alone)) in results.enumerated() {
        let names = ("output \(i), element %d of \(name)", "among its neighbours", "alone")
        if let text = try difference(bench, among, bench, alone, names) { return text }
      }
    }

    let fresh = Workbench(backend, seed: item.seed)
    let again = try item.build(fresh)
    try run(again, strategy)
    for (i, (first, second)) in zip(trial.judged.outputs, again.judged.outputs).enumerated() {
      let names = ("output \(i), element %d", "on the first run", "on the second")
      if let text = try difference(bench, first, fresh, second, names) { return text }
    }
    return nil
  }

  private func run(_ trial: Trial, _ strategy: String) throws {
    try backend.run(trial.operation, strategy: strategy)
    if let witness = trial.witness { try backend.run(witness) }
  }

  private func indices(_ count: Int) -> [Int] {
    let wanted = Self.membersAlone
    return count <= wanted ? [Int](0..<count) : (0..<wanted).map { $0 * (count - 1) / (wanted - 1) }
  }

  /// The first element that differs; a name's %d is its row-major number.
  private func difference(
    _ bench: Workbench, _ a: Tensor, _ other: Workbench, _ b: Tensor,
    _ names: (element: String, a: String, b: String)
  ) throws -> String? {
    let (bits, otherBits) = (try bench.bits(a), try other.bits(b))
    guard let index = zip(bits, otherBits).enumerated().first(where: { $1.0 != $1.1 })?.offset else {
      return nil
    }
    func text(_ value: Double, _ bits: UInt32) -> String { "\(value) (0x\(String(bits, radix: 16)))" }
    return names.element.replacing("%d", with: "\(index)")
      + " is \(text(try bench.values(a)[index], bits[index])) \(names.a)"
      + " and \(text(try other.values(b)[index], otherBits[index])) \(names.b)"
  }
}

// MARK: - Rows

extension Batched {
  /// Row `index` of everything along the first axis: `operation` is given the row's own outputs.
  fileprivate func row(
    _ index: Int, _ bench: Workbench, _ operation: (_ outputs: [Tensor]) -> any Operation
  ) throws -> Alone {
    let among = outputs.map { $0.part(index) }
    let alone = try among.map { try bench.output($0.shape, $0.type) }
    return Alone(operation: operation(alone), results: [_](zip(among, alone)))
  }
}

extension Tensor {
  /// Part `index` of the first axis.
  fileprivate func part(_ index: Int) -> Tensor { slice(0, index..<index + 1) }
}

extension Linear: Batched {
  static let member = "row"
  var members: Int { x.rows }
  func alone(_ index: Int, on bench: Workbench) throws -> Alone {
    try row(index, bench) {
      Linear(
        x: x.part(index), norm: norm, weight: weight, bias: bias, activation: activation, isGated: isGated,
        residual: residual?.part(index), phase: phase, y: $0[0])
    }
  }
}

extension LayerNorm: Batched {
  static let member = "row"
  var members: Int { x.rows }
  func alone(_ index: Int, on bench: Workbench) throws -> Alone {
    try row(index, bench) {
      LayerNorm(
        x: x.part(index), residual: residual?.part(index), gain: gain, bias: bias, epsilon: epsilon,
        sum: sum == nil ? nil : $0[1], y: $0[0])
    }
  }
}

extension RMSNorm: Batched {
  static let member = "row"
  var members: Int { x.rows }
  func alone(_ index: Int, on bench: Workbench) throws -> Alone {
    try row(index, bench) {
      RMSNorm(
        x: x.part(index), residual: residual?.part(index), gain: gain, epsilon: epsilon,
        sum: sum == nil ? nil : $0[1], y: $0[0])
    }
  }
}

extension Softmax: Batched {
  static let member = "row"
  var members: Int { x.rows }
  func alone(_ index: Int, on bench: Workbench) throws -> Alone {
    try row(index, bench) { Softmax(x: x.part(index), y: $0[0]) }
  }
}

extension GELU: Batched {
  static let member = "place"
  var members: Int { x.count }
  func alone(_ index: Int, on bench: Workbench) throws -> Alone {
    func part(_ tensor: Tensor) -> Tensor { tensor.reshaped([tensor.count]).part(index) }
    let own = try bench.output([1], y.type)
    return Alone(operation: GELU(form, x: part(x), y: own), results: [(part(y), own)])
  }
}

extension SiLUMultiply: Batched {
  static let member = "row"
  var members: Int { gateUp.rows }
  func alone(_ index: Int, on bench: Workbench) throws -> Alone {
    try row(index, bench) { SiLUMultiply(gateUp: gateUp.part(index), y: $0[0]) }
  }
}

extension GELUMultiply: Batched {
  static let member = "row"
  var members: Int { gateUp.rows }
  func alone(_ index: Int, on bench: Workbench) throws -> Alone {
    try row(index, bench) { GELUMultiply(gateUp: gateUp.part(index), y: $0[0]) }
  }
}

// MARK: - Sequences

extension Attention: Batched {
  static let member = "sequence"
  // What is appended is so once.
  var members: Int { appending == nil ? batch : 0 }

  /// The sequence in a call of one, with its own lengths: ragged rows and keys are cut out, caches and tables shared.
  func alone(_ b: Int, on bench: Workbench) throws -> Alone {
    func run(_ starts: Tensor) throws -> Range<Int> {
      let starts = try bench.values(starts)
      return Int(starts[b])..<Int(starts[b + 1])
    }
    func starts(_ run: Range<Int>) throws -> Tensor { try bench.integers([0, run.count]) }

    let queries = try queryStarts.map(run)
    func ofRows(_ tensor: Tensor) -> Tensor { queries.map { tensor.slice(2, $0) } ?? tensor.part(b) }
    let (source, keys): (Source, Int)
    switch self.source {
    case .dense(let all, let values, let lengths):
      keys = keyCount
      source = .dense(keys: all.part(b), values: values.part(b), lengths: lengths?.part(b))
    case .ragged(let all, let values, let keyStarts, _):
      let run = try run(keyStarts)
      keys = run.count
      source = .ragged(
        keys: all.slice(2, run), values: values.slice(2, run), starts: try starts(run), longest: keys)
    case .paged(let cache, let table, let lengths, _):
      keys = Int(try bench.values(lengths)[b])
      source = .paged(cache: cache, table: table.part(b), lengths: lengths.part(b), longest: keys)
    }
    let among = outputs.map(ofRows)
    let own = try among.map { try bench.output($0.shape, $0.type) }
    let operation = Attention(
      q: ofRows(q), rows: try queries.map { .ragged(starts: try starts($0), longest: $0.count) } ?? .equal,
      source: source, options: try options.alone(b, queries: queries?.count ?? queryCount, keys: keys),
      phase: phase, y: own[0], logSumExp: logSumExp == nil ? nil : own[1])
    return Alone(operation: operation, results: [_](zip(among, own)))
  }
}

extension AttentionOptions {
  /// The options as sequence b of `queries` and `keys` sees them.
  fileprivate func alone(_ b: Int, queries: Int, keys: Int) throws -> AttentionOptions {
    var options = self
    let cut = { (tensor: Tensor) in tensor.cut(b, queries, keys) }
    options.mask = try mask.alone(queries: queries, keys: keys, cut)
    options.bias = bias.map(cut)
    options.focus = focus.map {
      Focus(centers: $0.centers.cut(b, queries, keys), radius: $0.radius, gaussian: $0.gaussian)
    }
    options.scoreMod = scoreMod?.alone(b)
    options.maskMod = maskMod?.alone(b)
    return options
  }
}

extension Tensor {
  /// Of `[B, H, Lq, Lk]`, without the last axis or 1 in any, what belongs to sequence b.
  fileprivate func cut(_ b: Int, _ queries: Int, _ keys: Int) -> Tensor {
    var tensor = self
    for (axis, range) in [(0, b..<b + 1), (2, 0..<queries), (3, 0..<keys)] {
      if axis < shape.count && shape[axis] != 1 { tensor = tensor.slice(axis, range) }
    }
    return tensor
  }
}

extension AttentionMask {
  fileprivate func alone(queries: Int, keys: Int, _ cut: (Tensor) -> Tensor) throws -> AttentionMask {
    func alone(_ mask: AttentionMask) throws -> AttentionMask {
      try mask.alone(queries: queries, keys: keys, cut)
    }
    switch self {
    case .tensor(let tensor): return .tensor(cut(tensor))
    case .blocks(let map):
      let (rows, columns) = ((queries + map.size - 1) / map.size, (keys + map.size - 1) / map.size)
      let counts = (0..<rows).flatMap { map.counts[$0 * map.columns..<$0 * map.columns + columns] }
      return .blocks(try BlockMask(size: map.size, rows: rows, columns: columns, counts: counts))
    case .both(let a, let b): return .both(try alone(a), try alone(b))
    case .either(let a, let b): return .either(try alone(a), try alone(b))
    default: return self
    }
  }
}

extension ScoreExpression {
  /// The expression where sequence `offset` is called 0: it reads `(b + offset)` for `b`.
  fileprivate func alone(_ offset: Int) -> ScoreExpression {
    var shifted: Truth?
    if let truth { shifted = { score, b, h, i, j in truth(score, b + offset, h, i, j) } }
    return ScoreExpression(
      text.replacing(#/\bb\b/#, with: "(b + \(offset))"), constants: constants, truth: shifted)
  }
}
