import FlashCL
import FlashCLReference
import Testing

@testable import FlashCLCases

/// Element i of y is i, whatever that costs; of a sample of rows as of all.
private struct Count: SampledOperation {
  static let name = "count"
  let flops: Double
  let y: Tensor

  var inputs: [Tensor] { [] }
  var outputs: [Tensor] { [y] }
  var cost: Cost { Cost(flops: flops, bytes: 0) }
  func validate() throws {}

  func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] { [(0..<y.count).map { S($0) }] }
  func magnitude() throws -> [[Double]] { try truth() }
  var rowCount: Int { y.rows }
  func truth(rows: [Int]) throws -> [[Double]] {
    [rows.flatMap { row in (0..<y.columns).map { Double(row * y.columns + $0) } }]
  }
  func naive(rows: [Int]) throws -> [[Double]] { try truth(rows: rows) }
  func magnitude(rows: [Int]) throws -> [[Double]] { try truth(rows: rows) }
}

@Suite struct SampleTests {
  private func item(_ flops: Double) -> Case {
    Case(Count.self, .f32, ["flops": flops], .exact) { bench in
      Count(flops: flops, y: try bench.output([5, 300, 7]))
    }
  }

  private func check(_ flops: Double, _ mischief: @escaping Saboteur.Mischief) -> CaseResult {
    let item = item(flops)
    return Runner(Saboteur(mischief), cases: [item]).check(item, strategy: "sound")
  }

  private func check(_ flops: Double, row: Int, becomes value: Double) -> CaseResult {
    check(flops) { try $0.spoil($1.outputs[0], row * 7 + 3) { _ in value } }
  }

  private func rows() throws -> [Int] {
    let item = item(2.1e9)
    let trial = try item.build(Workbench(ReferenceBackend(), seed: item.seed))
    let operation = try #require(trial.operation as? any SampledOperation)
    return try #require(Sample(of: operation, seed: item.seed)).rows
  }

  @Test func bordersAndOthers() throws {
    let rows = try rows()
    #expect(rows.count == 96 && rows == Set(rows).sorted())
    for row in [0, 15, 16, 31, 32, 127, 128, 255, 256, 287, 288, 299] {
      #expect(rows.contains(row) && rows.contains(4 * 300 + row), "\(row)")
    }
    #expect(rows.contains { (300..<1200).contains($0) })
  }

  @Test func fewRowsAreAllCompared() {
    let y = Tensor(shape: [3, 20, 1], type: .f32, storage: Storage())
    #expect(Sample(of: Count(flops: 3e9, y: y), seed: 1)?.rows == [Int](0..<60))
  }

  @Test func aSampledRowIsJudged() throws {
    #expect(check(2.1e9) { _, _ in }.outcome == .passed)
    for row in [try #require(try rows().first { $0 > 300 }), 0, 1499] {
      for value in [0.5, .nan, .infinity] {
        let result = check(2.1e9, row: row, becomes: value)
        #expect(result.outcome == .failed && result.worst.map(\.index) == [row * 7 + 3])
      }
    }
  }

  @Test func anotherRowMustBeFinite() throws {
    let rows = try rows()
    let row = try #require((600..<900).first { !rows.contains($0) })
    #expect(check(2.1e9, row: row, becomes: 0.5).outcome == .passed)
    for value in [Double.nan, .infinity, -.infinity] {
      let result = check(2.1e9, row: row, becomes: value)
      #expect(result.outcome == .failed)
      #expect(result.reason?.hasPrefix("output 0, element \(row * 7 + 3) is \(value)") == true)
    }
    // Up to 2 GFLOP every row is compared.
    #expect(check(2e9, row: row, becomes: 0.5).outcome == .failed)
    #expect(check(2e9) { _, _ in }.outcome == .passed)
  }

  /// Rows are worth the same whether they are computed with all others or alone.
  @Test(arguments: [
    "attention.*type=f32.*ragged.*causal=lower_right", "attention.*options=mixed.*B=2.*lengths=70\\+41",
    "attention.*f16.*lengths=0\\+64", "attention.*f32.*paged|attention.*q8_0.*decode.*Lq=2,",
    "^linear.*type=q4_1.*rows=35,.*silu", "^linear.*type=f32.*rows=35.*residual=other",
  ])
  func someRowsAsAll(pattern: String) throws {
    let regex = try Regex(pattern)
    let item = try #require(Case.all.first { $0.name().contains(regex) })
    let trial = try item.build(Workbench(ReferenceBackend(), seed: item.seed))
    let operation = try #require(trial.operation as? any SampledOperation)
    let rows = [Int](0..<operation.rowCount).filter { $0 % 3 != 1 }.reversed() as [Int]
    func picked(_ all: [[Double]]) -> [[UInt64]] {
      all.map { values in
        let width = values.count / operation.rowCount
        return rows.flatMap { values[$0 * width..<($0 + 1) * width].map(\.bitPattern) }
      }
    }
    func bits(_ some: [[Double]]) -> [[UInt64]] { some.map { $0.map(\.bitPattern) } }
    #expect(try bits(operation.truth(rows: rows)) == picked(operation.truth()))
    #expect(try bits(operation.naive(rows: rows)) == picked(operation.naive()))
    #expect(try bits(operation.magnitude(rows: rows)) == picked(operation.magnitude()))
  }
}
