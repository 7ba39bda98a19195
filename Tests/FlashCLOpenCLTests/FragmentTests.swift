import FlashCL
import FlashCLCases
import FlashCLRuntime
import Testing

@testable import FlashCLOpenCL

/// What the lanes of each maker's matrix units hold, proved by the emulation of the units that this device lacks: of every kernel
/// that is written for them the few cases that read every index. KernelTests run all cases by NVIDIA's, or the device's own.
@Suite(.serialized) struct FragmentTests {
  private static let cases = [
    // Whole tiles, partly masked ones, and values that are infinite, which rows tell each other of.
    "attention\\(strategy=matrix,type=bf16,keys_in=dense,.*Lq=40,Lk=72,D=32,",
    // Splits that are joined, and sequences without keys and with one row.
    "attention\\(strategy=matrix_split,type=f16,keys_in=ragged",
    "linear\\(strategy=matrix,type=f16,.*phase=prefill,rows=(16|17|33|70),",
  ]

  @Test(arguments: MatrixUnit.allCases) func everyLayoutIsRight(unit: MatrixUnit) throws {
    let backend = try OpenCLBackend(Device.select())
    let own = backend.launcher.traits.fragments
    if own.unit != unit { backend.launcher.traits.fragments = FragmentLayout(unit: unit) }
    for filter in Self.cases {
      let results = try Runner(backend).check(filter)
      #expect(results.contains { $0.outcome == .passed }, "\(unit): no case of \(filter) runs")
      for result in results where result.outcome == .failed {
        Issue.record("\(unit): \(result.case): \(result.reason ?? "")")
      }
    }
  }

  /// Sixteen rows of each of four warps, whatever a warp has of lanes; what the emulation exchanges needs more than a unit does.
  @Test func limitsFollowTheLayout() throws {
    let backend = try OpenCLBackend(Device.select())
    let q = try backend.allocate([1, 2, 64, 128], .f16)
    let attention = Attention(q: q, source: .dense(keys: q, values: q), y: q)
    func unfit(_ unit: MatrixUnit, items: Int = 1024, _ bytes: Int, isPresent: Bool = false) -> String? {
      var traits = Traits(isCPU: false, maxWorkGroup: items, localMemory: bytes)
      traits.fragments = FragmentLayout(unit: unit, isPresent: isPresent)
      return Attention.matrix.unfit(attention, traits)
    }
    #expect(unfit(.dpas8, items: 32, 48 << 10) == nil)
    #expect(unfit(.mma, items: 127, 48 << 10) == "needs work-groups of 128, the device has 127")
    #expect(unfit(.mfma, items: 128, 48 << 10) == "needs work-groups of 256, the device has 128")
    // Tiles of keys and of values, two words for each row, three answers; and 256 words a warp, or two a lane.
    let common = 4 * (2 * 64 * 68 + 2 * 64 + 3)
    for unit in MatrixUnit.allCases {
      let exchanged = 4 * 4 * (unit == .wmma ? 512 : 256)
      #expect(unfit(unit, common + exchanged) == nil && unfit(unit, common + exchanged - 1) != nil)
      let less = common + 4 * 4 * 2 * unit.lanes
      #expect(unfit(unit, less, isPresent: true) == nil && unfit(unit, less - 1, isPresent: true) != nil)
    }
  }

  /// The layout is that of the unit that was found.
  @Test func aUnitIsKnownByItsCapabilities() {
    var found = Capabilities.none
    #expect(found.matrixUnit == nil)
    found.matrixM16N8K16 = true
    #expect(found.matrixUnit == nil)  // bf16 is missing
    found.matrixM16N8K16BFloat = true
    #expect(found.matrixUnit == .mma)
    for unit in MatrixUnit.allCases where unit != .mma {
      var found = Capabilities.none
      if [.dpas8, .dpas16].contains(unit) {
        found.subgroupMatrix = unit.lanes
      } else {
        found.waveMatrix = unit.lanes
      }
      #expect(found.matrixUnit == unit && Capabilities(found.description) == found)
      #expect(found.defines.count == 1)
    }
  }
}
