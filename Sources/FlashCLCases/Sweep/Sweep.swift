/// Values of an operation's parameters, to be combined: `N=128:16384:x2,D=64|128,causal=0|1,type=f16|f32`.
///
/// | text | values |
/// |---|---|
/// | `first:last:xK` | first, first · K, … up to last |
/// | `first:last:+K` | first, first + K, … up to last |
/// | `a\|b` | these, each a range or a word |
/// | anything else | itself |
public struct Sweep: Sendable {
  public struct Axis: Sendable {
    public let key: String
    public let values: [String]
  }

  /// In the order of the text.
  public let axes: [Axis]
  /// What was parsed.
  public let text: String

  /// A plot of more points than this says nothing, and measuring them takes an hour.
  public static let pointLimit = 256

  public init(_ text: String) throws {
    var axes: [Axis] = []
    var points = 1
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard pair.count == 2, !pair[0].isEmpty, !pair[1].isEmpty else {
        throw SweepError("'\(part)' is no key=values; write N=128:4096:x2,D=64|128")
      }
      let key = String(pair[0])
      guard !axes.contains(where: { $0.key == key }) else { throw SweepError("\(key) is there twice") }
      let values = try pair[1].split(separator: "|", omittingEmptySubsequences: false)
        .flatMap { try Self.values(key, String($0)) }
      if let twice = values.first(where: { value in values.count { $0 == value } > 1 }) {
        throw SweepError("\(key) has the value \(twice) twice")
      }
      points = points.multipliedReportingOverflow(by: values.count).partialValue
      guard points <= Self.pointLimit else {
        throw SweepError("the sweep has \(points) points or more; the limit is \(Self.pointLimit)")
      }
      axes.append(Axis(key: key, values: values))
    }
    self.axes = axes
    self.text = text
  }

  private static func values(_ key: String, _ text: String) throws -> [String] {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 3, let kind = parts[2].first, kind == "x" || kind == "+" else {
      if text.isEmpty { throw SweepError("\(key) has an empty value; write \(key)=a|b") }
      return [text]
    }
    guard let first = Int(parts[0]), let last = Int(parts[1]), let step = Int(parts[2].dropFirst()) else {
      throw SweepError("\(key)=\(text) is no range; write first:last:x2 or first:last:+64 in whole numbers")
    }
    guard kind == "+" ? step > 0 : step > 1 && first > 0 else {
      throw SweepError(
        "\(key)=\(text) never ends: \(kind == "+" ? "add 1 or more" : "multiply 1 or more by 2 or more")")
    }
    guard first <= last else { throw SweepError("\(key)=\(text) is empty: \(first) is past \(last)") }
    var values: [String] = []
    var value = first
    while value <= last {
      guard values.count < pointLimit else {
        throw SweepError("\(key)=\(text) has more values than the limit of \(pointLimit)")
      }
      values.append("\(value)")
      let (next, overflow) =
        kind == "+" ? value.addingReportingOverflow(step) : value.multipliedReportingOverflow(by: step)
      if overflow { break }
      value = next
    }
    return values
  }

  /// Every combination, the last axis fastest: values by key.
  public var points: [[String: String]] {
    axes.reduce([[:]]) { points, axis in
      points.flatMap { point in axis.values.map { point.merging([axis.key: $0]) { $1 } } }
    }
  }
}

/// What is wrong with a sweep, in one line.
public struct SweepError: Error, CustomStringConvertible {
  public let description: String
  init(_ description: String) { self.description = description }
}

/// One point of a sweep: the case to prove and to time there, and the memory that takes.
public struct SweepPoint: Sendable {
  public let item: Case
  /// The values of the sweep's own keys.
  public let values: [String: String]
  /// Bytes on the device of each tensor that may not be split.
  let tensors: [Int]

  /// Bytes on the device, all in all.
  public var bytes: Int { tensors.reduce(0, +) }
  /// Bytes of the largest tensor.
  public var largest: Int { tensors.max() ?? 0 }
}

extension Sweep {
  /// The cases of `operation` at every point; throws for an operation, a key or a value that is not known.
  public func cases(_ operation: String) throws -> [SweepPoint] {
    guard let maker = SweepMaker.all.first(where: { $0.operation == operation }) else {
      let names = SweepMaker.all.map(\.operation).joined(separator: ", ")
      throw SweepError("there is no sweep of '\(operation)'; known: \(names)")
    }
    if let key = axes.map(\.key).first(where: { !maker.keys.contains($0) }) {
      throw SweepError("\(operation) has no key '\(key)'; known: \(maker.keys.joined(separator: ", "))")
    }
    return try points.map { values in
      let (item, tensors) = try maker.make(SweepParameters(values: values))
      return SweepPoint(item: item, values: values, tensors: tensors)
    }
  }

  /// The operations that can be swept, each with its keys.
  public static var operations: [(name: String, keys: [String])] {
    SweepMaker.all.map { ($0.operation, $0.keys) }
  }
}
