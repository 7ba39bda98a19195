import FlashCL

/// A number that an operation's kernels take when they are compiled or launched, and that a device may like otherwise.
///
/// Results do not depend on it beyond rounding; it is fixed for a device, so bits do not change from call to call.
public struct Tunable: Sendable {
  public let operation: String
  public let name: String
  /// As it stands in a table: "attention.split".
  public let id: String
  /// What may be tried, ascending.
  public let values: [Int]
  /// The strategies that read it.
  public let strategies: [String]
  let standard: @Sendable (Traits) -> Int
  /// Operations for each byte that the kernel reads with a value; nil where it decides nothing of that.
  private let intensity: (@Sendable (Int) -> Double)?

  init(
    _ operation: any Operation.Type, _ name: String, of values: [Int], for strategies: [String],
    intensity: (@Sendable (Int) -> Double)? = nil, standard: @escaping @Sendable (Traits) -> Int
  ) {
    (self.operation, self.name, self.id) = (operation.name, name, "\(operation.name).\(name)")
    (self.values, self.strategies, self.standard) = (values, strategies, standard)
    self.intensity = intensity
  }

  /// The roofline's guess: the least value with which arithmetic, not memory, is the limit, or the greatest where none has;
  /// nil for numbers of which the roofline says nothing.
  public func guess(_ ceilings: Ceilings) -> Int? {
    guard let intensity else { return nil }
    return values.first { intensity($0) * ceilings.copyGBs >= ceilings.gflops } ?? values.last
  }

  /// Items of a group that works on one row together: LANES of the kernels by groups of rows.
  static func rowLanes(_ operation: any Operation.Type) -> Tunable {
    // 64 items are a wavefront, or two warps: enough to hide a load, few enough to sum in six steps.
    Tunable(operation, "lanes", of: [32, 64, 128, 256], for: ["group"]) { _ in 64 }
  }

  /// Every number of every operation.
  public static let all: [Tunable] = tuned.flatMap { $0.tunables }

  private static let tuned: [any OpenCLOperation.Type] = [
    Attention.self, Linear.self, LayerNorm.self, RMSNorm.self, Softmax.self, ArgMax.self, TopK.self,
  ]

  /// By operation: its strategies.
  fileprivate static let strategies: [String: [String]] = {
    func names<O: OpenCLOperation>(_ operation: O.Type) -> [String] {
      O.strategies(on: Traits(isCPU: true, maxWorkGroup: 1, localMemory: 0)).map(\.name)
    }
    return Dictionary(uniqueKeysWithValues: tuned.map { ($0.name, names($0)) })
  }()
}

/// What a device was found to like: numbers other than the defaults, and strategies to take before others.
///
/// As text, a line each: "attention.split = 256", "attention = lanes rows".
public struct Tuning: Equatable, Sendable {
  /// By `Tunable.id`.
  public private(set) var values: [String: Int] = [:]
  /// By operation: strategies in the order in which they are taken, before the rest in theirs.
  public private(set) var preferred: [String: [String]] = [:]

  public init() {}

  public var isEmpty: Bool { values.isEmpty && preferred.isEmpty }

  public subscript(tunable: Tunable) -> Int? {
    get { values.isEmpty ? nil : values[tunable.id] }
    set { values[tunable.id] = newValue }
  }

  public mutating func prefer(_ strategies: [String], for operation: String) {
    preferred[operation] = strategies.isEmpty ? nil : strategies
  }

  /// Forgets what concerns one operation.
  public mutating func reset(_ operation: String) {
    values = values.filter { !$0.key.hasPrefix("\(operation).") }
    preferred[operation] = nil
  }

  /// Throws `FlashCLError.unsupported` for a number that no kernel of this version takes, with what would do.
  public func validate() throws {
    for (id, value) in values.sorted(by: { $0.key < $1.key }) {
      guard let tunable = Tunable.all.first(where: { $0.id == id }) else {
        let known = Tunable.all.map(\.id).joined(separator: ", ")
        throw FlashCLError.unsupported("a tuning table with '\(id)'; known are \(known)")
      }
      guard tunable.values.contains(value) else {
        let known = tunable.values.map(String.init).joined(separator: ", ")
        throw FlashCLError.unsupported("a tuning table with \(id) = \(value); it may be \(known)")
      }
    }
    for (operation, names) in preferred.sorted(by: { $0.key < $1.key }) {
      let known = Tunable.strategies[operation] ?? []
      guard names.allSatisfy(known.contains) else {
        throw FlashCLError.unsupported(
          "a tuning table with \(operation) = \(names.joined(separator: " "))"
            + (known.isEmpty
              ? ", which is not tuned" : "; its strategies are \(known.joined(separator: ", "))"))
      }
    }
  }

  /// The table, ascending by name.
  public var lines: [String] {
    let numbers = values.map { "\($0.key) = \($0.value)" }
    return (numbers + preferred.map { "\($0.key) = \($0.value.joined(separator: " "))" }).sorted()
  }

  /// Throws `FlashCLError.unsupported` for a line that is none of a table, or that no kernel of this version takes.
  public init(text: String) throws {
    for line in text.split(whereSeparator: \.isNewline) {
      let words = line.split(separator: " ").map(String.init)
      guard words.count >= 3, words[1] == "=" else {
        throw FlashCLError.unsupported("a tuning table with the line '\(line.prefix(80))'")
      }
      if let value = Int(words[2]) {
        values[words[0]] = value
      } else {
        preferred[words[0]] = [String](words[2...])
      }
    }
    try validate()
  }
}

extension OpenCLOperation {
  /// The strategies, those first that the device was found to like.
  static func ordered(on traits: Traits) -> [Strategy<Self>] {
    let all = strategies(on: traits)
    guard let names = traits.tuning.preferred[name] else { return all }
    return names.compactMap { name in all.first { $0.name == name } }
      + all.filter { !names.contains($0.name) }
  }
}

extension Traits {
  /// The number as it was tuned, else its default.
  subscript(tunable: Tunable) -> Int { tuning[tunable] ?? tunable.standard(self) }
}
