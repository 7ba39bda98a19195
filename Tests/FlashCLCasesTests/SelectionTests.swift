import FlashCL
import Testing

@testable import FlashCLCases

/// What the three extents of a check select.
@Suite struct SelectionTests {
  private static func values(_ selected: [Selected]) -> Set<String> {
    var values: Set<String> = []
    for (item, strategies) in selected {
      let parameters = item.parameters.split(separator: ",").map(String.init)
      let phase = parameters.first { $0.hasPrefix("phase=") } ?? ""
      let words = parameters.filter { parameter in
        parameter.split(separator: "=", maxSplits: 1).last?.split(separator: "+").contains {
          Double($0) == nil
        }
          ?? false
      }
      for strategy in strategies {
        for word in words + ["type=\(item.type.rawValue)"] {
          values.insert("\(item.operation) \(strategy) \(phase) \(word)")
        }
      }
    }
    return values
  }

  /// Every type and every word of every strategy is there, in both phases, with a quarter of the cases at most.
  @Test func quickReachesEveryValue() throws {
    let backend = Saboteur()
    let all = try Runner(backend).select()
    let quick = try Runner(backend, extent: .quick).select()
    func able(_ selected: [Selected]) -> [Selected] {
      selected.map { ($0.case, $0.strategies.filter { $0 != Saboteur.Fault.unsupported.rawValue }) }
    }
    let missing = Self.values(able(all)).subtracting(Self.values(able(quick)))
    #expect(missing.isEmpty)
    let count = { (selected: [Selected]) in selected.reduce(0) { $0 + $1.strategies.count } }
    #expect(4 * count(quick) < count(all))
    // What can run nothing keeps one case of each operation, which says why.
    for operation in Set(all.map(\.case.operation)) {
      let cases = quick.filter {
        $0.case.operation == operation && $0.strategies.contains(Saboteur.Fault.unsupported.rawValue)
      }
      #expect(cases.count == 1, "\(operation)")
    }
  }

  @Test func quickIsTheSameEveryTime() throws {
    let names = try Runner(Saboteur(), extent: .quick).list()
    #expect(try Runner(Saboteur(), extent: .quick).list() == names)
    let everything = try Runner(Saboteur()).list()
    #expect(Set(names).isSubset(of: everything))
  }

  /// What may be cut short reaches everything early: each operation once, the quick selection, then all.
  @Test(arguments: [Extent.quick, .standard, .full]) func breadthFirst(extent: Extent) throws {
    func names(_ selected: [Selected]) -> [String] {
      selected.flatMap { item, strategies in strategies.map { item.name(strategy: $0) } }
    }
    let runner = Runner(Saboteur(), extent: extent, breadthFirst: true)
    let (selected, all) = (try runner.select(), try Runner(Saboteur(), extent: extent).list())
    #expect(names(selected).sorted() == all.sorted())
    let operations = Set(selected.map(\.case.operation))
    #expect(Set(selected.prefix(operations.count).map(\.case.operation)) == operations)
    let quick = try Runner(Saboteur(), extent: .quick).list()
    #expect(Set(names(selected).prefix(quick.count)) == Set(quick))
  }

  /// To select is to ask, not to launch: a broken device is met by its cases alone.
  @Test func selectingRunsNothing() throws {
    var runs = 0
    let backend = Saboteur { _, _ in runs += 1 }
    _ = try Runner(backend, extent: .full, breadthFirst: true).list()
    _ = try Runner(backend).coverage()
    #expect(runs == 0)
  }

  @Test func whatIsOverBeginsNothing() throws {
    var begun = 0
    let runner = Runner(Saboteur(), breadthFirst: true)
    let results = try runner.check(
      "rms_norm",
      before: { _, _ in
        begun += 1; return nil
      }, isOver: { begun == 3 })
    #expect(results.count == 3)
  }

  /// Within a filter too: what it leaves is covered.
  @Test func quickKeepsWithinAFilter() throws {
    let runner = Runner(Saboteur(), extent: .quick)
    let names = try runner.list(#"^linear\(.*strategy=sound.*type=q4_1"#)
    #expect(!names.isEmpty && names.allSatisfy { $0.hasPrefix("linear(strategy=sound,type=q4_1,") })
    #expect(names.contains { $0.contains("phase=decode") } && names.contains { $0.contains("phase=prefill") })
    #expect(try runner.list(names[0]) == [names[0]])
    #expect(throws: CaseError.self) { try runner.list("no_such_operation") }
  }

  @Test func fullAddsTheShapesOfModels() throws {
    let full = Runner(Saboteur(), extent: .full)
    #expect(full.cases.count { $0.purpose == .check } == Runner(Saboteur()).cases.count)
    let large = try #require(full.cases.first { $0.purpose == .bench && $0.operation == "rope" })
    let result = full.check(large, strategy: "sound")
    #expect(result.outcome == .passed)
    #expect(result.command == "flashcl check --full '\(result.case)'")
    #expect(try full.list(result.case) == [result.case])
    // A name means one case, in the tables of both purposes together.
    #expect(Set(full.cases.map { $0.name() }).count == full.cases.count)
  }
}
