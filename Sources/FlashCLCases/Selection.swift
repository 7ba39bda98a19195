import FlashCL

/// How much of the tables a check runs.
public enum Extent: String, Codable, Sendable {
  /// The smallest cases that reach every operation, strategy, type, phase and option.
  case quick
  /// Every case that was made to find faults.
  case standard
  /// These, and the shapes of real models that are there to be timed.
  case full
}

/// Which element types have a case that some strategy can run.
public struct Coverage: Codable, Sendable {
  public let operation: String
  public let strategy: String
  /// How many cases of each type the strategy can run.
  public var cases: [String: Int]
}

/// A case, and the strategies by which it is to run.
public typealias Selected = (case: Case, strategies: [String])

extension Runner {
  /// The cases and strategies that `filter` means, of the runner's extent: a name exactly (with or without its strategy), else
  /// a regular expression that is searched for in the names; nil means all. Throws where nothing matches.
  public func select(_ filter: String? = nil) throws -> [Selected] {
    let matching = try match(filter)
    guard isBreadthFirst else { return extent == .quick ? try covering(matching) : matching }
    // Shapes of real models are no part of a quick check.
    let quick = try covering(matching.filter { $0.case.purpose == .check })
    if extent == .quick { return quick.inTurns() }
    let taken = Dictionary(quick.map { ($0.case.name(), $0.strategies) }, uniquingKeysWith: +)
    let rest = matching.compactMap { item -> Selected? in
      let strategies = item.strategies.filter { taken[item.case.name()]?.contains($0) != true }
      return strategies.isEmpty ? nil : (item.case, strategies)
    }
    return quick.inTurns() + rest.inTurns()
  }

  private func match(_ filter: String?) throws -> [Selected] {
    var names: [String: [String]] = [:]  // every strategy of an operation is listed for each of its cases
    func strategies(_ item: Case) throws -> [String] {
      if let known = names[item.operation] { return known }
      let list: [String]
      do {
        let trial = try item.build(Workbench(backend, seed: item.seed, launches: false))
        list = try backend.strategies(for: trial.operation).map(\.name)
        names[item.operation] = list
      } catch FlashCLError.unsupported {
        list = ["none"]  // `check` says why
      }
      return list
    }
    guard let filter else { return try cases.map { ($0, try strategies($0)) } }
    if let exact = cases.first(where: { $0.name() == filter }) { return [(exact, try strategies(exact))] }
    let bare = filter.replacing(#/\(strategy=[^,]*,/#, with: "(")
    if let exact = cases.first(where: { $0.name() == bare }) {
      let strategies = try strategies(exact).filter { exact.name(strategy: $0) == filter }
      if !strategies.isEmpty { return [(exact, strategies)] }
    }
    let expression: Regex<AnyRegexOutput>
    do { expression = try Regex(filter) } catch {
      throw CaseError.badFilter("'\(filter)' names no case and is no regular expression: \(error)")
    }
    let selected = try cases.map { item in
      (item, try strategies(item).filter { item.name(strategy: $0).contains(expression) })
    }.filter { !$0.1.isEmpty }
    guard !selected.isEmpty else { throw CaseError.badFilter("no case matches '\(filter)'") }
    return selected
  }

  /// The names that `filter` means.
  public func list(_ filter: String? = nil) throws -> [String] {
    try select(filter).flatMap { item, strategies in strategies.map { item.name(strategy: $0) } }
  }

  /// What each strategy can run of the runner's extent, counted by type; a strategy that no case reaches has an empty count.
  public func coverage() throws -> [Coverage] {
    var rows: [Coverage] = []
    for (item, strategies) in try select() {
      guard let trial = try? item.build(Workbench(backend, seed: item.seed, launches: false)) else {
        continue
      }
      for report in try backend.strategies(for: trial.operation) where strategies.contains(report.name) {
        let row = rows.firstIndex { $0.operation == item.operation && $0.strategy == report.name }
        if row == nil { rows.append(Coverage(operation: item.operation, strategy: report.name, cases: [:])) }
        if report.unsupported == nil {
          rows[row ?? rows.count - 1].cases[item.type.rawValue, default: 0] += 1
        }
      }
    }
    return rows
  }

  // MARK: - The quick extent

  /// A small selection in which each strategy of each operation still meets every value that its cases have, in each phase:
  /// every type, and every word that a parameter may be. Of sizes it takes the smallest.
  ///
  /// Greedy, for each strategy by itself: next comes the case with the most values that are new, of those the one with the
  /// smallest sizes, of those the first. A strategy that can run nothing keeps its smallest case, whose result says why.
  private func covering(_ selected: [Selected]) throws -> [Selected] {
    var supported: [Int: Set<String>] = [:]  // by index in `selected`
    func runs(_ strategy: String, _ index: Int) throws -> Bool {
      if let known = supported[index] { return known.contains(strategy) }
      let item = selected[index].case
      var names: Set<String> = []
      do {
        let trial = try item.build(Workbench(backend, seed: item.seed, launches: false))
        names = Set(
          try backend.strategies(for: trial.operation).filter { $0.unsupported == nil }.map(\.name))
      } catch FlashCLError.unsupported {
        // Nothing runs it.
      }
      supported[index] = names
      return names.contains(strategy)
    }
    var groups: [String: [Int]] = [:]
    for (index, item) in selected.enumerated() {
      for strategy in item.strategies {
        groups["\(item.case.operation) \(strategy)", default: []].append(index)
      }
    }
    var values: [String: Int] = [:]  // numbered, for speed
    let profiles = selected.map { item in
      let profile = Profile(item.case)
      return (
        size: profile.size,
        values: profile.values.map { value in
          let number = values[value] ?? values.count
          values[value] = number
          return number
        }
      )
    }
    var chosen = [Set<String>](repeating: [], count: selected.count)
    for (group, indices) in groups {
      let strategy = String(group.split(separator: " ")[1])
      // Sizes first: of equals the search below takes the first that it meets.
      var candidates = indices.sorted { (profiles[$0].size, $0) < (profiles[$1].size, $1) }
      var isMissing = [Bool](repeating: true, count: values.count)
      let smallest = candidates[0]
      var isEmpty = true
      while true {
        var (best, most) = (-1, 0)
        for (place, index) in candidates.enumerated() {
          let gain = profiles[index].values.count { isMissing[$0] }
          if gain > most { (best, most) = (place, gain) }
        }
        guard best >= 0 else { break }
        let index = candidates.remove(at: best)
        guard try runs(strategy, index) else { continue }
        chosen[index].insert(strategy)
        for value in profiles[index].values { isMissing[value] = false }
        isEmpty = false
      }
      if isEmpty { chosen[smallest].insert(strategy) }
    }
    return zip(selected, chosen).compactMap { item, chosen in
      let strategies = item.strategies.filter(chosen.contains)
      return strategies.isEmpty ? nil : (item.case, strategies)
    }
  }
}

extension [Selected] {
  /// The first case of every operation, then the second of every one, and so on.
  public func inTurns() -> [Selected] {
    var counts: [String: Int] = [:]
    let turns = map { item in
      counts[item.case.operation, default: 0] += 1
      return counts[item.case.operation, default: 0]
    }
    return indices.sorted { (turns[$0], $0) < (turns[$1], $1) }.map { self[$0] }
  }
}

/// What a case's name says of it: the values that a quick check must meet, and how large the case is.
private struct Profile {
  /// `decode type=f16`, `prefill causal=lower_right`, `prefill lengths=several`; numbers are alike.
  let values: Set<String>
  /// The product of its numbers.
  let size: Double

  init(_ item: Case) {
    var (values, size, phase) = (["type=\(item.type.rawValue)"], 1.0, "")
    for parameter in item.parameters.split(separator: ",") {
      let pair = parameter.split(separator: "=", maxSplits: 1)
      guard pair.count == 2 else { continue }
      let numbers = pair[1].split(separator: "+").map { Double($0) }
      if numbers.contains(nil) {
        if pair[0] == "phase" { phase = String(pair[1]) } else { values.append(String(parameter)) }
      } else {
        values.append("\(pair[0])=\(numbers.count > 1 ? "several" : "number")")
        size *= max(1, numbers.reduce(0) { $0 + ($1 ?? 0) })
      }
    }
    self.values = Set(values.map { "\(phase) \($0)" })
    self.size = size
  }
}
