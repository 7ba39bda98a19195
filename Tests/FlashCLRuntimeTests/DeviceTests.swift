import Glibc
import Testing

@testable import FlashCLRuntime

@Suite struct DeviceTests {
  @Test func listsDevicesWithTheirProperties() throws {
    let devices = try Device.all()
    #expect(!devices.isEmpty)
    for device in devices {
      #expect(!device.name.isEmpty && !device.platformName.isEmpty && device.version.hasPrefix("OpenCL "))
      #expect(device.computeUnits > 0 && device.maxWorkGroup > 0 && device.localMemory > 0)
      #expect(device.maxAllocation > 0 && device.maxAllocation <= device.globalMemory)
      #expect(!device.extensions.isEmpty && !device.extensions.contains(""))
    }
  }

  @Test func selectsByOrderAndByName() throws {
    let all = try Device.all()
    let best = try Device.select()
    #expect(all.allSatisfy { best.kind <= $0.kind })
    #expect(best === all.first { $0.kind == best.kind })
    #expect(try Device.select("gpu") === best)
    #expect(try Device.select("gpu:0") === best)
    #expect(try Device.select(best.name.uppercased()) === best)
    let platform = String(best.platformName.lowercased().dropFirst(1).dropLast(1))
    #expect(try Device.select(platform).platformName == best.platformName)
    #expect(try Device.select(platform + ":0").platformName == best.platformName)
    // With POCL_DEVICES="pthread pthread" there are two.
    if all.count > 1 { #expect(try Device.select("gpu:1") !== best) }
  }

  @Test(arguments: ["no-such-thing", "gpu:99", "gpu:-1", "gpu:", "gpu:99999999999999999999", "", ":0", ":"])
  func noMatchListsWhatThereIs(_ specification: String) throws {
    let error = try #require(throws: CLError.self) { try Device.select(specification) }
    #expect(error.description.contains("\"\(specification)\""))
    #expect(error.description.contains(try Device.select().name))
  }

  @Test func noDeviceNamesThePackage() throws {
    let error = try #require(throws: CLError.self) { try Device.select("gpu", from: []) }
    #expect(error.description.contains("apt install pocl-opencl-icd"))
  }

  @Test func aMissingLibraryIsASentence() throws {
    let error = try #require(throws: CLError.self) { try openLibrary(at: "/nonexistent/libOpenCL.so.1") }
    #expect(error.description.contains("/nonexistent/libOpenCL.so.1"))
    #expect(error.description.contains("apt install"))
    // A library that opens but is not OpenCL.
    let other = try #require(throws: CLError.self) { try openLibrary(at: "libc.so.6") }
    #expect(other.description.contains("clGetPlatformIDs"))
  }

  @Test func advisesOnDriversThatAreMissing() throws {
    let root = try TemporaryFolder()
    for (card, vendor) in [("card0", "0x8086\n"), ("card1", "0x10de\n"), ("card2", "rubbish"), ("card3", "")]
    {
      var folder = root.path
      for part in ["class", "drm", card, "device"] {
        folder += "/" + part
        mkdir(folder, 0o700)
      }
      root.write("class/drm/\(card)/device/vendor", Array(vendor.utf8))
    }
    let advice = Device.missingDriverAdvice(sysfs: root.path, for: [])
    #expect(advice.count == 2)
    #expect(advice.contains { $0.contains("intel-opencl-icd") } && advice.contains { $0.contains("nvidia") })
    #expect(Device.missingDriverAdvice(sysfs: "/nonexistent", for: []).isEmpty)
  }

  @Test func codesHaveTheirNames() {
    #expect(CLError.name(of: 0) == "CL_SUCCESS")
    #expect(CLError.name(of: -5) == "CL_OUT_OF_RESOURCES")
    #expect(CLError.name(of: -19) == "CL_KERNEL_ARG_INFO_NOT_AVAILABLE")
    #expect(CLError.name(of: -30) == "CL_INVALID_VALUE")
    #expect(CLError.name(of: -46) == "CL_INVALID_KERNEL_NAME")
    #expect(CLError.name(of: -54) == "CL_INVALID_WORK_GROUP_SIZE")
    #expect(CLError.name(of: -61) == "CL_INVALID_BUFFER_SIZE")
    #expect(CLError.name(of: -72) == "CL_MAX_SIZE_RESTRICTION_EXCEEDED")
    for code in [-20, -29, -73, 1, Int32.min, Int32.max] {
      #expect(CLError.name(of: code) == "an unknown code")
    }
  }
}

@Suite struct CapabilitiesTests {
  /// Whatever a device claims, the probes' answer must be usable: a program with its defines builds and runs.
  @Test func everyDevicesCapabilitiesHold() throws {
    let folder = try TemporaryFolder()
    let cache = DiskCache(folder: folder.path)
    for device in try Device.all() {
      let found = Capabilities.probed(on: device, cache: cache)
      #expect(Capabilities.probed(on: device, cache: cache) == found)  // from disk
      if !device.extensions.contains("cl_khr_fp16") { #expect(!found.halfArithmetic) }
      if device.platformName == "Portable Computing Language" && device.version.contains("pocl 3") {
        #expect(found == .none)
      }
      let queue = try Queue(device, capabilities: found, cache: cache)
      let kernel = try queue.kernel("add", in: addSource, defines: [Define("FACTOR", "1.0f")])
      #expect(kernel.argumentCount == 3)
      let names = found.defines.map(\.name)
      #expect(names.contains("HAS_HALF") == found.halfArithmetic)
      #expect(names.contains("SUBGROUP_SIZE") == (found.subgroupSize > 0))
    }
  }

  /// Each by itself goes into its line and comes back, and changes the programs that are built.
  @Test func everyCapabilityIsKept() throws {
    let flags: [WritableKeyPath<Capabilities, Bool>] = [
      \.halfArithmetic, \.subgroupShuffle, \.integerDotProduct, \.matrixM16N8K16, \.matrixM16N8K16BFloat,
      \.matrixLoads, \.asynchronousCopies, \.warpShuffle, \.prefetch, \.membar, \.agentFence,
    ]
    var names: Set<String> = []
    for flag in flags {
      var found = Capabilities.none
      found[keyPath: flag] = true
      #expect(Capabilities(found.description) == found)
      #expect(found.defines.count == 1)
      names.formUnion(found.defines.map(\.name))
    }
    #expect(names.count == flags.count)
    // What no kernel asks for.
    for flag in [\.modules, \.moreLocalMemory] as [WritableKeyPath<Capabilities, Bool>] {
      var found = Capabilities.none
      found[keyPath: flag] = true
      #expect(Capabilities(found.description) == found)
      #expect(found.defines.isEmpty)
    }
    for size in [\.subgroupSize, \.subgroupMatrix, \.waveMatrix] as [WritableKeyPath<Capabilities, Int>] {
      var found = Capabilities.none
      found[keyPath: size] = 16
      #expect(Capabilities(found.description) == found)
      #expect(!found.defines.isEmpty)
    }
    #expect(Capabilities("CL1.2 0 1 1") == nil)
  }

  @Test func damageInTheCacheIsProbedAnew() throws {
    let folder = try TemporaryFolder()
    let cache = DiskCache(folder: folder.path)
    let device = try Device.select()
    let found = Capabilities.probed(on: device, cache: cache)
    for name in folder.files() { folder.write(name, Array("rubbish".utf8)) }
    #expect(Capabilities.probed(on: device, cache: cache) == found)
  }
}
