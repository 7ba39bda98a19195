import Testing

@testable import FlashCLRuntime

@Suite struct PretenceTests {
  @Test func namesAreRefusedWithTheList() throws {
    #expect(Set(Pretence.all.map(\.name)).count == Pretence.all.count)
    #expect(try Pretence.named(nil) == nil)
    #expect(try Pretence.named("RDNA2")?.name == "rdna2")
    let error = try #require(throws: CLError.self) { try Pretence.named("voodoo2") }
    #expect(error.description.contains("voodoo2"))
    for pretence in Pretence.all { #expect(error.description.contains(pretence.name)) }
  }

  /// Limits are the smaller of two, and nothing appears that the device lacks.
  @Test(arguments: Pretence.all) func narrowsAndNeverWidens(pretence: Pretence) throws {
    for (real, narrow) in zip(Device.list(as: nil), Device.list(as: pretence)) {
      #expect(narrow.name == real.name && narrow.kind == pretence.kind)
      #expect(narrow.localMemory == min(real.localMemory, pretence.localMemory))
      #expect(narrow.maxWorkGroup == min(real.maxWorkGroup, pretence.maxWorkGroup))
      #expect(narrow.maxAllocation == min(real.maxAllocation, pretence.maxAllocation))
      #expect(narrow.extensions.isSubset(of: real.extensions))
      #expect(pretence.hasHalf || !narrow.extensions.contains("cl_khr_fp16"))
      #expect(narrow.identity != real.identity)
      #expect(narrow.description.contains("as \(pretence.name)"))
    }
  }

  @Test func extensionsFollowTheTable() throws {
    let turing = try #require(try Pretence.named("turing"))
    let xe = try #require(try Pretence.named("xe"))
    for name in ["cl_khr_fp16", "cl_khr_subgroups", "cl_intel_subgroups", "cl_khr_subgroup_shuffle"] {
      #expect(!turing.keeps(name) && xe.keeps(name))
    }
    #expect(turing.keeps("cl_nv_device_attribute_query") && !xe.keeps("cl_nv_device_attribute_query"))
    #expect(turing.keeps("cl_khr_fp64") && xe.keeps("cl_khr_integer_dot_product"))
  }

  /// A narrowed device is a device: what it can do builds and runs.
  @Test func capabilitiesStayWithinThePretence() throws {
    let folder = try TemporaryFolder()
    let pretence = try #require(try Pretence.named("rdna2"))
    for device in Device.list(as: pretence) {
      let found = Capabilities.probed(on: device, cache: DiskCache(folder: folder.path))
      #expect(found.subgroupSize == 0 || found.subgroupSize == 32)
      let queue = try Queue(device, capabilities: found, cache: DiskCache(folder: nil))
      #expect(try queue.kernel("add", in: addSource, defines: [Define("FACTOR", "1.0f")]).argumentCount == 3)
    }
  }
}
