import FlashCL
import FlashCLRuntime

/// What a device can do at most, as two simple kernels and one matrix product measure it: the roofline.
///
/// Work of I operations a byte can reach at most min(`gflops`, I · `copyGBs`); data that stay in a cache may pass that.
public struct Ceilings: Sendable {
  /// Bytes read and written by a copy, in 10⁹ a second.
  public let copyGBs: Double
  /// f32 arithmetic, two operations for each multiply-add, in 10⁹ a second.
  public let gflops: Double
  /// The linear layer's chosen strategy on f32 matrices of `matrixSize`, in 10⁹ operations a second; nil where its result
  /// was wrong.
  public let matrixGFLOPS: Double?
  /// Rows, inputs and outputs of that product.
  public let matrixSize: Int
}

extension OpenCLBackend {
  /// Measures the device's memory and arithmetic, each the best of several runs: a ceiling is what was once reached.
  public func measureCeilings() throws -> Ceilings {
    let gflops = try multiplyAddRate() * 1e-9
    // About 20 ms at the rate of multiply-adds: enough to fill the device, too little to wait for.
    let cube = 20e-3 * gflops * 1e9 / 2
    var size = 512
    while size < 4096 && Double((size + 256) * (size + 256)) * Double(size + 256) <= cube { size += 256 }
    return Ceilings(
      copyGBs: try copyRate() * 1e-9, gflops: gflops, matrixGFLOPS: try productRate(size).map { $0 * 1e-9 },
      matrixSize: size)
  }

  private static let file = KernelFile("ceilings")

  /// A CPU device wants one item per group and its widest registers, a GPU many small items.
  private var shape: (vector: Int, local: Int, items: Int) {
    let units = queue.device.computeUnits
    return launcher.traits.isCPU ? (16, 1, 4 * units) : (4, 64, 2048 * units)
  }

  private var defines: Defines { ["VECTOR": "float\(shape.vector)"] }

  /// Bytes per second that a copy reads and writes, beyond any cache; the best of several.
  public func copyRate() throws -> Double {
    // Twice 128 MiB passes any cache, and an eighth of the memory is not missed.
    let device = queue.device
    let wanted = min(128 << 20, device.maxAllocation, device.globalMemory / 8)
    let vectorBytes = 4 * shape.vector
    let rounds = max(1, wanted / (vectorBytes * shape.items))
    let bytes = vectorBytes * shape.items * rounds
    let (x, y) = (try queue.allocate(bytes), try queue.allocate(bytes))
    try queue.fill(x)
    try queue.fill(y)
    let (first, step) = launcher.traits.isCPU ? (rounds, 1) : (1, shape.items)
    let seconds = try best {
      try launcher.launch(
        "ceilings_copy", in: Self.file, defines, global: [shape.items], local: [shape.local],
        [.buffer(x), .buffer(y), .ulong(first), .ulong(step), .ulong(rounds)])
    }
    return 2 * Double(bytes) / seconds
  }

  /// Operations per second.
  private func multiplyAddRate() throws -> Double {
    let (chains, rounds) = (12, launcher.traits.isCPU ? 1 << 20 : 1 << 12)
    let y = try queue.allocate(4 * shape.vector * shape.items)
    let seconds = try best {
      // b < 1: the chains stay finite, and far from the slow subnormal numbers.
      try launcher.launch(
        "ceilings_multiply_add", in: Self.file, defines, global: [shape.items], local: [shape.local],
        [.buffer(y), .float(0.999), .float(0.5), .ulong(rounds)])
    }
    return 2 * Double(chains * shape.vector * shape.items * rounds) / seconds
  }

  /// Operations per second of y = x · Wᵀ with matrices of size × size; nil where y is wrong.
  private func productRate(_ size: Int) throws -> Double? {
    // Small whole numbers: every sum is exact, in any order.
    func element(_ row: Int, _ column: Int) -> Float { Float((5 * row + 3 * column) % 7 - 3) }
    let numbers = (0..<size * size).map { element($0 / size, $0 % size) }
    let x = try tensor(numbers, [size, size])
    let weight = try numbers.withUnsafeBytes {
      try prepare([WeightSource(name: "ceiling", outputs: size, inputs: size, type: .f32, bytes: $0)])
    }
    let y = try allocate([size, size], .f32)
    let product = Linear(x: x, weight: weight, phase: .prefill, y: y)
    let seconds = try best { try run(product, strategy: nil) }
    let found = try floats(y)
    for place in stride(from: 0, to: size * size, by: size * size / 61) {
      let (row, column) = (place / size, place % size)
      let truth = (0..<size).reduce(Float(0)) { $0 + element(row, $1) * element(column, $1) }
      if found[place] != truth { return nil }
    }
    return product.cost.flops / seconds
  }

  private func best(_ launch: () throws -> Void) throws -> Double {
    let clock = ContinuousClock()
    try launch()  // compiles
    try queue.finish()
    var best = Double.infinity
    for _ in 0..<7 {
      let start = clock.now
      try launch()
      try queue.finish()
      best = min(best, (clock.now - start) / .seconds(1))
    }
    return best
  }
}
