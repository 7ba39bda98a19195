import FlashCL
import FlashCLReference

/// How far a result may lie from the truth, per element: every rule of the project, in one place.
///
/// `unit` is 2^-24, the relative error of one rounding to f32. A rule gives a bound b on the error of f32
/// arithmetic; a result is right when it lies between truth − b and truth + b, both rounded to the type in
/// which it is stored (rounding keeps order, so this asks nothing of the storage but that it rounds to
/// nearest).
public enum Tolerance: Sendable {
  /// Bit for bit, but for the sign of zero: gathers, selections, copies.
  case exact
  /// `ulps` ulps (of f32) of the truth and `roundings` of what went in: b = n·ulp(truth) + c·unit·|x|.
  ///
  /// The first is the error of the last function that was called (OpenCL allows erfc 16 ulp, exp 3, division
  /// 2.5), the second that of its argument: one relative rounding of it moves x·f(x) by unit·x²·f′(x), less
  /// than unit·|x| for the smooth steps used here.
  case elementwise(ulps: Double, roundings: Double)
  /// Sums of `length` products: b = (8 + √length)·unit·Σ|a||b|.
  ///
  /// The worst case of a sum in one long chain is length·unit·Σ|a||b|; with independent roundings it is
  /// √length times (Higham and Mary 2019), and any tree does better. 8 is for what surrounds the sum: an
  /// exponential of 3 ulp is 6. Terms of one sign are the hard case, for a chain then loses small terms
  /// always to the same side: with one part a row of 576 equal numbers fails, with 16 parts (lanes, items)
  /// rows of 49152 pass.
  case dot(length: Int)
  /// Twice the error that the plain formula in f32 makes anywhere in the row, and four roundings of the row's
  /// magnitude: a narrow row may be lucky, but neither its scores nor their exponentials can be better than
  /// their terms.
  ///
  /// Where keys and values come from a cache of a narrower type, one unit of that type is added: a rotated
  /// key may be rounded to either neighbour.
  case twice(cache: ElementType = .f32)

  /// What a strategy may add that rounds one factor of every product to `type` (`Rounding`), as matrix units of
  /// 16-bit inputs ask: attention's weights, a linear layer's x. An element is Σ a·b; each a moves by at most half an ulp, a
  /// share of 2^-11 in f16 and 2^-8 in bf16, so the element by that share of Σ|a||b|. It is added to the rule above for
  /// such a strategy alone, and to its first output alone: a log-sum-exp sums what is not rounded. Where attention rounds its
  /// queries too, scores move by that share of their own size, and a quotient by twice that of its terms.
  ///
  /// An f16 below 2^-14 loses more than that share. Attention multiplies its weights by 2^15 before, so that only those
  /// below 2^-29 of the greatest do, by less than 2^-40 of it each: 2^20 keys of them are below one rounding of f16.
  static func rounding(to type: ElementType, _ products: [Double]) -> [Double] {
    let share = type == .f16 ? 0x1p-11 : type == .bf16 ? 0x1p-8 : 0
    return products.map { share * $0 }
  }

  static let unit = 0x1p-24
  /// Devices may flush f32 numbers below the smallest normal to 0.
  static let flushed = 0x1p-126

  /// The bounds of all elements of one output; `columns` is the length of its rows.
  func bounds(truth: [Double], magnitude: [Double], naive: () throws -> [Double], columns: Int) rethrows
    -> [Double]
  {
    let unit = Self.unit
    switch self {
    case .exact: return [Double](repeating: 0, count: truth.count)
    case .elementwise(let ulps, let roundings):
      return zip(truth, magnitude).map { truth, x in
        ulps * Double(Float(truth).ulp) + roundings * unit * x + Self.flushed
      }
    case .dot(let length):
      let factor = (8 + Double(length).squareRoot()) * unit
      return magnitude.map { factor * $0 + Self.flushed }
    case .twice(let cache):
      let naive = try naive()
      let rounding =
        4 * unit + (cache == .f32 ? 0 : cache == .f16 ? 0x1p-11 : cache == .bf16 ? 0x1p-8 : 0x1p-7)
      var bounds = magnitude.map { rounding * $0 + Self.flushed }
      for start in stride(from: 0, to: truth.count, by: max(columns, 1)) {
        let row = start..<min(start + columns, truth.count)
        let worst = row.reduce(0) { worst, i in
          let error = abs(naive[i] - truth[i])
          return error.isFinite ? max(worst, error) : worst
        }
        for i in row { bounds[i] += 2 * worst }
      }
      return bounds
    }
  }
}

/// One element that was compared.
public struct Deviation: Codable, Sendable, CustomStringConvertible {
  public let output: Int
  public let index: Int  // row-major
  public let truth: Double
  public let got: Double
  public let bound: Double
  /// True when the element lies within its bound.
  public let isRight: Bool

  public var error: Double { abs(got - truth) }
  /// Error in units of the bound; infinite where that says nothing.
  var share: Double {
    let share = error == 0 || (isRight && !error.isFinite) ? 0 : error / bound
    return share.isNaN ? .infinity : share
  }
  /// The five worst, wrong ones first.
  static func worst(_ deviations: [Deviation]) -> [Deviation] {
    [Deviation](
      deviations.sorted { a, b in a.isRight == b.isRight ? a.share > b.share : !a.isRight }.prefix(5))
  }

  public var description: String {
    "output \(output), element \(index): truth \(truth), got \(got), allowed ± \(bound)"
  }
}

/// What is true of one output, or of some of its rows, and how far a result may lie from it.
struct Expectation {
  let type: ElementType
  let truth: [Double]
  let bounds: [Double]
  /// Which elements of the output these are, ascending; nil where they are all.
  var indices: [Int]?

  /// The same with wider bounds.
  func widened(by more: [Double]) -> Expectation {
    Expectation(type: type, truth: truth, bounds: zip(bounds, more).map { $0 + $1 }, indices: indices)
  }

  /// How many elements are wrong, and the five that use most of their bounds.
  func judge(_ got: [Double], output: Int) -> (wrong: Int, worst: [Deviation]) {
    var wrong = 0
    var worst: [Deviation] = []
    for (place, truth) in truth.enumerated() {
      let index = indices?[place] ?? place
      let got = got[index]
      // A bound that is not a number allows nothing.
      let bound = bounds[place].isFinite ? bounds[place] : 0
      let (low, high) = (type.rounded(truth - bound), type.rounded(truth + bound))
      let isRight = truth.isNaN ? got.isNaN : low <= got && got <= high
      if !isRight { wrong += 1 }
      let deviation = Deviation(
        output: output, index: index, truth: truth, got: got, bound: got < truth ? truth - low : high - truth,
        isRight: isRight)
      if worst.count < 5 || deviation.share > worst[4].share || !isRight && worst[4].isRight {
        worst = Deviation.worst(worst + [deviation])
      }
    }
    return (wrong, worst)
  }

  /// Says which element is not finite of those that have no truth here; nil where all are.
  func stray(_ got: [Double], output: Int) -> String? {
    guard let indices else { return nil }
    let compared = Set(indices)
    let stray = got.indices.first { !got[$0].isFinite && !compared.contains($0) }
    return stray.map {
      "output \(output), element \($0) is \(got[$0]); it lies in none of the rows compared, but all must be finite"
    }
  }
}

/// Which rows of an operation are compared where all would take too long.
struct Sample {
  /// Above so many operations of arithmetic.
  static let limit = 2e9

  let operation: any SampledOperation
  /// Ascending: 96 or more, or all where there are no more.
  let rows: [Int]

  /// Nil where the operation is small, or can be computed only whole.
  init?(of operation: any ReferenceOperation, seed: UInt64) {
    guard operation.cost.flops > Self.limit, let operation = operation as? any SampledOperation else {
      return nil
    }
    let height = operation.outputs[0].shape.dropLast().last ?? 1
    self.init(operation, height: height, seed: seed)
  }

  /// With the rows in panels of `height`, such as the queries of one head: of the first and the last panel the first
  /// and last rows and both sides of tiles' borders, and others that `seed` draws.
  init(_ operation: any SampledOperation, height: Int, seed: UInt64) {
    let borders = [16, 32, 64, 128, 256].flatMap { [$0, (height - 1) / $0 * $0] }
    let edges = ([0, height - 1] + borders.flatMap { [$0 - 1, $0] }).filter { 0 <= $0 && $0 < height }
    let count = operation.rowCount
    var rows = Set(edges + edges.map { count - height + $0 })
    var random = SplitMix64(seed: seed)
    while rows.count < min(96, count) { rows.insert(Int.random(in: 0..<count, using: &random)) }
    self.operation = operation
    self.rows = rows.sorted()
  }

  /// Where the rows' elements lie in an output of `count` elements.
  func indices(count: Int) -> [Int] {
    let width = count / operation.rowCount
    return rows.flatMap { $0 * width..<($0 + 1) * width }
  }
}
