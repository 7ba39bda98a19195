import FlashCL

extension AttentionMask {
  /// How often key j counts in query i: the table of `AttentionMask`, line by line.
  func count() throws -> (Pair) -> Double {
    func keeping(_ condition: @escaping (Pair) -> Bool) -> (Pair) -> Double { { condition($0) ? 1 : 0 } }
    switch self {
    case .all: return { _ in 1 }
    case .causal(.upperLeft): return keeping { $0.j <= $0.i }
    case .causal(.lowerRight): return keeping { $0.j <= $0.p }
    case .window(let left, let right):
      return keeping { (left < 0 || $0.p - $0.j <= left) && (right < 0 || $0.j - $0.p <= right) }
    case .atrous(let k): return keeping { ($0.j - $0.p) % k == 0 }
    case .global(let ids):
      let ids = Set(ids)
      return keeping { ids.contains($0.j) || ids.contains($0.p) }
    case .blocks(let map):
      return { Double(map.counts[$0.i / map.size * map.columns + $0.j / map.size]) }
    case .segments(let segments):
      return { pair in Double(segments.count { $0.joins(pair) }) }
    case .tensor(let tensor):
      let isTrue = try Grid(tensor)
      return keeping { isTrue[$0.b, $0.h, $0.i, $0.j] != 0 }
    case .both(let a, let b):
      let (a, b) = (try a.count(), try b.count())
      return { pair in
        let count = a(pair)
        return count == 0 ? 0 : count * b(pair)
      }
    case .either(let a, let b):
      let (a, b) = (try a.count(), try b.count())
      return { max(a($0), b($0)) }
    }
  }
}

extension AttentionMask.Segment {
  /// Query and key lie in one run of `length` places, both at places that the head takes; a query before the first
  /// key lies in none.
  fileprivate func joins(_ pair: Pair) -> Bool {
    let (p, j) = (pair.p, pair.j)
    guard p >= 0, p / length == j / length else { return false }
    let place = pair.h % dilation
    return p % length % dilation == place && j % length % dilation == place
  }
}

/// `Focus` at hand: the window, and the Gaussian over it.
struct FocusWindow {
  private let centers: Grid
  private let radius: Double
  let isGaussian: Bool

  init(_ focus: Focus) throws {
    centers = try Grid(focus.centers)
    radius = Double(focus.radius)
    isGaussian = focus.gaussian
  }

  /// |j − c| ≤ radius
  func keeps(_ pair: Pair) -> Bool { abs(distance(pair)) <= radius }

  /// −(j − c)² / 2σ² with σ = radius / 2, the exponent of a weight's factor.
  func exponent(_ pair: Pair) -> Double {
    let share = distance(pair) / radius
    return -2 * share * share
  }

  private func distance(_ pair: Pair) -> Double { Double(pair.j) - centers[pair.b, pair.h, pair.i, 0] }
}
