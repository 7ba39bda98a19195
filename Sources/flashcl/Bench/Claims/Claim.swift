import FlashCL
import FlashCLCases
import FlashCLOpenCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A statement about transformers that a measurement can confirm or refute.
struct Claim: Sendable {
  let name: String
  /// What is claimed, in one sentence.
  let statement: String
  let measure: @Sendable (ClaimBench) throws -> Finding

  /// Every claim that can be measured with what is built.
  static var all: [Claim] { scalingClaims + patternClaims + decodingClaims + layerClaims }

  /// Claims about architectures that are not built, and about trained weights.
  static let unmeasured: [(name: String, reason: String)] = [
    (
      "rnn",
      "a transformer computes in parallel what a recurrent network computes in steps: no recurrent layer is built"
    ),
    ("retnet", "RetNet's memory, throughput and latency: not built"),
    ("yoco", "YOCO's memory and prefill at 512K tokens: not built"),
    ("rwkv", "RWKV's constant state: not built"),
    ("infini", "Infini-attention's compressed memory: not built"),
    ("ttt", "test-time training, linear in length: not built"),
    ("bitnet", "BitNet's weights of three values: not built"),
    ("kan", "KAN trains ten times slower: nothing is trained here"),
    ("transformer_xl", "Transformer-XL's evaluation by segments: its attention is built, the model is not"),
    ("retro", "RETRO with 4 % of the parameters: needs training"),
    ("quality", "perplexities and scores of ALiBi, Longformer, XLNet and others: need trained weights"),
    ("sinusoidal", "sinusoidal positions fail past the trained length: needs trained weights"),
  ]
}

/// What a measurement says of a claim.
struct Finding: Encodable {
  enum Verdict: String, Encodable {
    case holds, partly, fails

    var text: String {
      switch self {
      case .holds: "holds"
      case .partly: "holds in part"
      case .fails: "does not hold here"
      }
    }
  }

  struct Figure: Encodable {
    let name: String
    let value: Double
    let unit: String
  }

  struct Line: Encodable {
    let name: String
    let points: [[Double]]
  }

  let verdict: Verdict
  /// Our measurement, in a sentence or two.
  let words: String
  let figures: [Figure]
  let plot: Plot

  private enum CodingKeys: String, CodingKey { case verdict, words, figures, x, y, lines }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(verdict, forKey: .verdict)
    try container.encode(words, forKey: .words)
    try container.encode(figures, forKey: .figures)
    try container.encode(plot.x, forKey: .x)
    try container.encode(plot.y, forKey: .y)
    let lines = plot.panels.flatMap(\.series).map {
      Line(name: $0.name, points: $0.points.map { [$0.x, $0.y] })
    }
    try container.encode(lines, forKey: .lines)
  }
}

/// The device on which claims are measured, and what was measured there so far.
final class ClaimBench {
  let backend: OpenCLBackend
  private var done: [String: [BenchReport.Entry]] = [:]

  init(_ backend: OpenCLBackend) { self.backend = backend }

  /// The chosen strategy at every point of a sweep, each checked and then timed.
  func sweep(_ operation: String, _ text: String) throws -> [BenchReport.Entry] {
    if let entries = done[operation + text] { return entries }
    var bench = OperationBench(backend: backend, chosenOnly: true, duration: 0.08, isQuiet: true)
    bench.measuresCeilings = false
    let report = try bench.run(operation, Sweep(text))
    if let failure = report.failures.first {
      throw Failure("\(failure.case) is wrong and was not timed; repeat: \(failure.command)")
    }
    done[operation + text] = report.results
    return report.results
  }

  /// The median seconds of two pieces of work, run in turn so that a drift of the machine meets both.
  func seconds(rounds: Int = 9, _ a: () throws -> Void, _ b: () throws -> Void) throws -> (Double, Double) {
    let clock = ContinuousClock()
    func time(_ work: () throws -> Void) throws -> Double {
      let start = clock.now
      try work()
      try backend.synchronise()
      return clock.now.seconds(since: start)
    }
    _ = (try time(a), try time(b))  // compiles
    var (first, second): ([Double], [Double]) = ([], [])
    for _ in 0..<rounds {
      first.append(try time(a))
      second.append(try time(b))
    }
    return (first.sorted()[rounds / 2], second.sorted()[rounds / 2])
  }

  /// Bytes of device memory that `work` needs at its height, beyond what is held before.
  func bytes(_ work: () throws -> Void) throws -> Double {
    backend.queue.trim()
    let before = backend.queue.bytesInUse
    backend.queue.resetPeak()
    try work()
    try backend.synchronise()
    return Double(backend.queue.peakBytes - before)
  }

  /// Seeded numbers of ±1, evenly spread.
  func random(_ shape: [Int], scale: Float = 1, seed: UInt64 = 1) throws -> Tensor {
    try backend.tensor(numbers(shape.reduce(1, *), scale: scale, seed: seed), shape)
  }

  func numbers(_ count: Int, scale: Float = 1, seed: UInt64 = 1) -> [Float] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { _ in scale * Float(2 * random.uniform() - 1) }
  }

  func weight(_ values: [Float], _ outputs: Int, _ inputs: Int) throws -> Weight {
    try values.withUnsafeBytes {
      try backend.prepare([WeightSource(name: "w", outputs: outputs, inputs: inputs, type: .f32, bytes: $0)])
    }
  }

  func weight(_ outputs: Int, _ inputs: Int, seed: UInt64) throws -> Weight {
    let values = numbers(outputs * inputs, scale: 1 / Float(inputs).squareRoot(), seed: seed)
    return try weight(values, outputs, inputs)
  }

  /// The greatest difference of two results.
  func difference(_ a: Tensor, _ b: Tensor) throws -> Float {
    zip(try backend.floats(a), try backend.floats(b)).reduce(0) { max($0, abs($1.0 - $1.1)) }
  }
}

// MARK: - Lines

extension [BenchReport.Entry] {
  /// Milliseconds over the values of a key.
  func milliseconds(over key: String) -> [Plot.Point] {
    map { .init(x: Double($0.swept[key] ?? "") ?? 0, y: $0.median_s * 1e3, spread: $0.spread) }
  }

  func filter(_ key: String, _ value: String) -> [BenchReport.Entry] { filter { $0.swept[key] == value } }
}

extension [Plot.Point] {
  /// The exponent p of y ∝ xᵖ, by least squares of the logarithms over the last `count` points.
  func exponent(last count: Int = 3) -> Double {
    let points = suffix(count).map { (log($0.x), log($0.y)) }
    let n = Double(points.count)
    let (x, y) = (points.reduce(0) { $0 + $1.0 } / n, points.reduce(0) { $0 + $1.1 } / n)
    let (top, bottom) = points.reduce((0.0, 0.0)) {
      ($0.0 + ($1.0 - x) * ($1.1 - y), $0.1 + ($1.0 - x) * ($1.0 - x))
    }
    return top / bottom
  }
}
