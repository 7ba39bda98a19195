import FlashCL
import FlashCLCases
import FlashCLRuntime
import Foundation
import Testing

@testable import FlashCLOpenCL

/// A folder of one test, removed with it.
private final class Folder {
  let path = FileManager.default.temporaryDirectory.appendingPathComponent("flashcl-\(UUID().uuidString)")
    .path

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }
  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Numbers that a device may like otherwise: every one is right, and no table brings in another.
@Suite struct TuningTests {
  /// Small cases that reach the strategies of an operation.
  private static let cases = [
    "attention": "attention.*(causal=lower_right,options=none,B=2,Hq=3.*Lq=(33|1),|keys_in=f32.*lengths=600)",
    "linear": "linear.*type=f32.*(rows=1,|rows=33,)", "layer_norm": "layer_norm.*type=f32.*cols=257",
    "rms_norm": "rms_norm.*type=f32.*cols=257", "softmax": "softmax.*type=f32.*cols=257",
    "argmax": "argmax.*cols=257", "top_k": "top_k.*cols=257",
  ]

  @Test(arguments: Tunable.all.map(\.id))
  func everyValueIsRight(id: String) throws {
    let tunable = try #require(Tunable.all.first { $0.id == id })
    let backend = try OpenCLBackend(try Device.select())
    let filter = try #require(Self.cases[tunable.operation])
    for value in tunable.values where value != backend.number(tunable) {
      var tuning = Tuning()
      tuning[tunable] = value
      try backend.tune(tuning)
      #expect(backend.number(tunable) == value)
      let results = try Runner(backend).check(filter)
      let ran = results.filter { tunable.strategies.contains($0.strategy) && $0.outcome != .unsupported }
      #expect(!ran.isEmpty, "\(id) = \(value): no case reaches \(tunable.strategies)")
      for result in results where result.outcome == .failed {
        Issue.record("\(id) = \(value): \(result.case): \(result.reason ?? "")")
      }
    }
  }

  @Test func aPreferredStrategyIsChosen() throws {
    let backend = try OpenCLBackend(try Device.select())
    let x = try backend.allocate([3, 5], .f32)
    let softmax = Softmax(x: x, y: x)
    for name in try backend.strategies(for: softmax).map(\.name) {
      var tuning = Tuning()
      tuning.prefer([name], for: "softmax")
      try backend.tune(tuning)
      #expect(try backend.strategies(for: softmax).first(where: \.chosen)?.name == name)
    }
  }

  /// Matrix units come first where both their types work; their emulation never does.
  @Test func matrixUnitsAreTakenWhereTheyAre() throws {
    var traits = Traits(isCPU: false, maxWorkGroup: 1024, localMemory: 48 << 10)
    #expect(Attention.strategies(on: traits).suffix(2).map(\.name) == ["matrix", "matrix_split"])
    traits.fragments.isPresent = true
    #expect(
      Attention.strategies(on: traits).map(\.name) == [
        "matrix", "split", "tiled", "rows", "lanes", "blocks", "matrix_split",
      ])
    for unit in MatrixUnit.allCases {
      traits.fragments = FragmentLayout(unit: unit, isPresent: true)
      #expect((Attention.strategies(on: traits).first?.name == "matrix") == (unit != .dpas8))
      traits.fragments.isPresent = false
      #expect(Attention.strategies(on: traits).suffix(2).map(\.name) == ["matrix", "matrix_split"])
    }

    let backend = try OpenCLBackend(try Device.select())
    func chosen(_ type: ElementType, size: Int) throws -> String? {
      let q = try backend.allocate([1, 2, 64, size], type)
      let keys = try backend.allocate([1, 1, 64, size], type)
      let attention = Attention(q: q, source: .dense(keys: keys, values: keys), y: q)
      return try backend.strategies(for: attention).first(where: \.chosen)?.name
    }
    #expect(try chosen(.f16, size: 128) != "matrix")
    backend.launcher.traits.fragments.isPresent = true
    #expect(try chosen(.f16, size: 128) == "matrix")
    // Of a model: queries in f32 over a cache that is not, in prefill and in decode.
    func chosen(cache type: ElementType, _ phase: Phase) throws -> String? {
      let cache = try backend.makeCache(blocks: 4, heads: 1, keySize: 64, valueSize: 64, type: type)
      let q = try backend.allocate([1, 2, 4, 64], .f32)
      let attention = Attention(
        q: q,
        source: .paged(
          cache: cache, table: try backend.allocate([1, 4], .i32), lengths: try backend.allocate([1], .i32),
          longest: 64),
        options: AttentionOptions(mask: .causal(.lowerRight)), phase: phase, y: q)
      return try backend.strategies(for: attention).first(where: \.chosen)?.name
    }
    #expect(try chosen(cache: .f16, .prefill) == "matrix")
    #expect(try chosen(cache: .bf16, .decode) == "lanes")
    #expect(try chosen(cache: .f32, .prefill)?.contains("matrix") == false)
    // What they do not serve goes on as before.
    for (type, size) in [(ElementType.f32, 128), (.f16, 40), (.bf16, 144)] {
      #expect(try chosen(type, size: size) != "matrix")
    }
  }

  /// An element of a key is 4 bytes and two operations for each of the rows that share it.
  @Test func theRooflineGuesses() throws {
    func guess(_ id: String, gflops: Double) throws -> Int? {
      try #require(Tunable.all.first { $0.id == id }).guess(
        Ceilings(copyGBs: 100, gflops: gflops, matrixGFLOPS: nil, matrixSize: 512))
    }
    #expect(try guess("attention.tile", gflops: 800) == 16)
    #expect(try guess("attention.tile", gflops: 801) == 32)
    #expect(try guess("attention.tile", gflops: 1e5) == 32)  // none is enough
    #expect(try guess("attention.heads", gflops: 100) == 2)
    #expect(try guess("linear.rows", gflops: 1600) == 48)
    #expect(try guess("attention.split", gflops: 800) == nil)
  }

  @Test func tablesAreTextAndBack() throws {
    var tuning = Tuning()
    #expect(tuning.isEmpty && tuning.lines == [])
    for tunable in Tunable.all { tuning[tunable] = tunable.values[0] }
    tuning.prefer(["rows", "lanes"], for: "attention")
    #expect(try Tuning(text: tuning.lines.joined(separator: "\n")) == tuning)
    tuning.reset("attention")
    #expect(!tuning.lines.contains { $0.hasPrefix("attention") } && !tuning.isEmpty)
  }

  @Test(arguments: [
    "attention", "attention.split", "attention.split =", "attention.split 128", "attention.split = 7",
    "attention.split = -1", "attention.split = 99999999999999999999 1", "attention.splitt = 128", "= 128",
    ". = 1",
    "gelu.lanes = 64", "nothing = rows", "attention.split = 128\nlinear.groups = 3", "\u{0}\u{1}", "{}",
    "[1, 2]",
    "attention.split=128", "attention.split : 128", "ATTENTION.SPLIT = 128", "attention . split = 128",
  ])
  func otherTablesAreRefused(text: String) throws {
    #expect(throws: FlashCLError.self) { try Tuning(text: text) }
    // Nor does one that was stored so, by another version say, stop anyone.
    let (device, scratch) = (try Device.select(), try Folder())
    let cache = DiskCache(folder: scratch.path)
    cache.store(Tuning.key(device), [UInt8](text.utf8))
    #expect(Tuning.stored(for: device, in: cache).isEmpty)
  }

  @Test func twentyPiecesOfGarbageAreNoTable() throws {
    let (device, scratch) = (try Device.select(), try Folder())
    let cache = DiskCache(folder: scratch.path)
    var tuning = Tuning()
    for tunable in Tunable.all { tuning[tunable] = tunable.values[0] }
    tuning.store(for: device, in: cache)
    #expect(Tuning.stored(for: device, in: cache) == tuning)
    let file = URL(fileURLWithPath: scratch.path + "/\(Tuning.key(device))")
    let whole = try Data(contentsOf: file)
    for round in 0..<20 {
      var bytes = whole
      switch round % 5 {
      case 0: bytes.removeLast(Int.random(in: 1..<bytes.count))
      case 1: bytes[Int.random(in: 0..<bytes.count)] ^= UInt8(1 << (round / 5))
      case 2: bytes = Data((0..<300).map { _ in UInt8.random(in: 0...255) })
      case 3: bytes += whole
      default: bytes = Data(tuning.lines.joined(separator: "\n").utf8)  // without what stands before
      }
      try bytes.write(to: file)
      #expect(Tuning.stored(for: device, in: cache).isEmpty, "round \(round)")
      tuning.store(for: device, in: cache)
      #expect(Tuning.stored(for: device, in: cache) == tuning)
    }
  }
}
