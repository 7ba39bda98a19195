import COpenCL
import Synchronization

/// What a device is; the order is the order of preference.
public enum DeviceKind: Int, Comparable, Sendable, CustomStringConvertible {
  case discreteGPU, integratedGPU, accelerator, cpu

  public static func < (a: DeviceKind, b: DeviceKind) -> Bool { a.rawValue < b.rawValue }

  public var description: String { ["discrete GPU", "integrated GPU", "accelerator", "CPU"][rawValue] }
}

/// One device of one OpenCL platform, its properties read once; shared freely between tasks.
public final class Device: Sendable, CustomStringConvertible {
  nonisolated(unsafe) let id: cl_device_id
  public let name, vendor, version, driverVersion, cVersion: String
  public let platformName, platformVersion: String
  public let kind: DeviceKind
  /// True for a CPU device, whatever it pretends to be: what its compiler can do does not change with that.
  let isProcessor: Bool
  /// The vendor's PCI number (0x8086 Intel, 0x1002 AMD, 0x10de NVIDIA), where the driver gives that.
  public let vendorID: UInt32
  public let computeUnits, maxWorkGroup: Int
  /// In bytes: local memory of a work-group, all memory, and the largest single buffer.
  public let localMemory, globalMemory, maxAllocation: Int
  /// Floats in a register: CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT.
  public let vectorWidth: Int
  public let extensions: Set<String>
  /// What is known about this device's driver, beyond what it says of itself.
  public let quirks: [Quirk]
  /// The device whose limits this one is narrowed to (`FLASHCL_PRETEND`); every property here is after that.
  public let pretence: Pretence?
  private let found = Mutex<Capabilities?>(nil)

  init(_ id: cl_device_id, platform: cl_platform_id, as pretence: Pretence?) {
    self.id = id
    self.pretence = pretence
    name = Device.text(id, CL_DEVICE_NAME)
    vendor = Device.text(id, CL_DEVICE_VENDOR)
    version = Device.text(id, CL_DEVICE_VERSION)
    driverVersion = Device.text(id, CL_DRIVER_VERSION)
    cVersion = Device.text(id, CL_DEVICE_OPENCL_C_VERSION)
    platformName = Device.name(of: platform)
    platformVersion = readText {
      cl.clGetPlatformInfo(platform, cl_platform_info(CL_PLATFORM_VERSION), $0, $1, $2)
    }
    let type: cl_device_type = Device.value(id, CL_DEVICE_TYPE, 0)
    let sharesHostMemory: cl_bool = Device.value(id, CL_DEVICE_HOST_UNIFIED_MEMORY, 0)
    isProcessor = type & cl_device_type(CL_DEVICE_TYPE_CPU) != 0
    if let pretence {
      kind = pretence.kind
    } else if type & cl_device_type(CL_DEVICE_TYPE_GPU) != 0 {
      kind = sharesHostMemory != 0 ? .integratedGPU : .discreteGPU
    } else {
      kind = type & cl_device_type(CL_DEVICE_TYPE_CPU) != 0 ? .cpu : .accelerator
    }
    vendorID = Device.value(id, CL_DEVICE_VENDOR_ID, 0)
    computeUnits = Int(Device.value(id, CL_DEVICE_MAX_COMPUTE_UNITS, cl_uint(1)))
    func bytes(_ property: Int32) -> Int { Int(clamping: Device.value(id, property, cl_ulong(0))) }
    maxWorkGroup = min(Device.value(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, 1), pretence?.maxWorkGroup ?? .max)
    localMemory = min(bytes(CL_DEVICE_LOCAL_MEM_SIZE), pretence?.localMemory ?? .max)
    globalMemory = bytes(CL_DEVICE_GLOBAL_MEM_SIZE)
    maxAllocation = min(bytes(CL_DEVICE_MAX_MEM_ALLOC_SIZE), pretence?.maxAllocation ?? .max)
    vectorWidth = Int(Device.value(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, cl_uint(1)))
    extensions = Set(
      Device.text(id, CL_DEVICE_EXTENSIONS).split(separator: " ").map(String.init)
        .filter { pretence?.keeps($0) ?? true })
    quirks = Quirk.known(platform: platformName, extensions: extensions)
  }

  /// Every usable device, platform by platform; empty when there is no platform or none has a device.
  ///
  /// A device is usable when it is available, has a compiler and speaks OpenCL 1.2. The list is read once per process.
  /// Throws `CLError.noLibrary` when libOpenCL cannot be opened (`FLASHCL_OPENCL_LIBRARY` names another one), and
  /// `CLError.refused` when `FLASHCL_PRETEND` names no device that can be pretended.
  public static func all() throws(CLError) -> [Device] {
    try requireLibrary()
    return try listed.get()
  }

  private static let listed: Result<[Device], CLError> = Result { () throws(CLError) in
    try list(as: Pretence.named(environment("FLASHCL_PRETEND")))
  }

  /// The usable devices, narrowed to `pretence`.
  static func list(as pretence: Pretence?) -> [Device] {
    platforms().flatMap { platform in
      devices(of: platform).filter { unusable($0) == nil }.map {
        Device($0, platform: platform, as: pretence)
      }
    }
  }

  /// A loader without platforms answers with an error code: an empty list says the same.
  static func platforms() -> [cl_platform_id] { ids { cl.clGetPlatformIDs($0, $1, $2) } }

  static func name(of platform: cl_platform_id) -> String {
    readText { cl.clGetPlatformInfo(platform, cl_platform_info(CL_PLATFORM_NAME), $0, $1, $2) }
  }

  static func devices(of platform: cl_platform_id) -> [cl_device_id] {
    ids { cl.clGetDeviceIDs(platform, cl_device_type(CL_DEVICE_TYPE_ALL), $0, $1, $2) }
  }

  /// Why a device cannot be used; nil when it can.
  static func unusable(_ id: cl_device_id) -> String? {
    if value(id, CL_DEVICE_AVAILABLE, cl_bool(0)) == 0 { return "it says that it is not available" }
    if value(id, CL_DEVICE_COMPILER_AVAILABLE, cl_bool(0)) == 0 { return "its driver has no compiler" }
    let version = text(id, CL_DEVICE_VERSION)
    let isOld = ["OpenCL 1.0", "OpenCL 1.1"].contains { version.hasPrefix($0) }
    return isOld ? "it speaks \(version), and OpenCL 1.2 is needed" : nil
  }

  /// The device that a specification names: `gpu` or nil for the best one (discrete GPU, integrated GPU, accelerator,
  /// CPU), `gpu:1` for the second best, or a piece of a platform's or device's name in any case, also with a number.
  ///
  /// Throws `CLError.noDevice` with the list of what there is when nothing matches.
  public static func select(_ specification: String? = nil) throws(CLError) -> Device {
    try select(specification, from: all())
  }

  static func select(_ specification: String?, from devices: [Device]) throws(CLError) -> Device {
    let wanted = (specification ?? "gpu").lowercased()
    // Swift's sort does not promise to keep the order of equals.
    let ranked = devices.enumerated().sorted { ($0.element.kind, $0.offset) < ($1.element.kind, $1.offset) }
      .map(\.element)
    func matches(_ word: some StringProtocol) -> [Device] {
      if word == "gpu" { return ranked }
      if word.isEmpty { return [] }
      return ranked.filter { holds($0.name, word) || holds($0.platformName, word) }
    }
    if let device = matches(wanted).first { return device }
    if let colon = wanted.lastIndex(of: ":"), let number = Int(wanted[wanted.index(after: colon)...]) {
      let candidates = matches(wanted[..<colon])
      if candidates.indices.contains(number) { return candidates[number] }
    }
    throw .noDevice(
      specification ?? "gpu", available: ranked.map(\.description), advice: missingDriverAdvice(for: devices))
  }

  public var description: String {
    "\(name) (\(kind)\(pretence.map { " as \($0.name)" } ?? ""), \(platformName))"
  }

  /// What the device can do beyond OpenCL C 1.2, found by compiling and running small probes and remembered on disk.
  ///
  /// `FLASHCL_CAPABILITIES=none` switches probing off. A probe that fails in any way is a capability less, not an error.
  public func capabilities() throws(CLError) -> Capabilities {
    if environment("FLASHCL_CAPABILITIES") == "none" { return .none }
    return found.withLock { found in
      let answer = found ?? Capabilities.probed(on: self, cache: DiskCache.standard("programs"))
      found = answer
      return answer
    }
  }

  /// What `capabilities` would answer without running a probe; nil where it would run some.
  public func knownCapabilities() -> Capabilities? {
    if environment("FLASHCL_CAPABILITIES") == "none" { return Capabilities.none }
    return found.withLock { found in
      found = found ?? Capabilities.known(of: self, cache: .standard("programs"))
      return found
    }
  }

  /// Runs the probes, whatever is known, but for those named in `leavingOut`, and tells of each.
  public func probe(leavingOut: Set<String>, report: (Capabilities.Probing) -> Void) -> Capabilities {
    Capabilities.found(on: self, leavingOut: leavingOut, report: report)
  }

  /// Takes over what was found in another process; `store` remembers it on disk.
  public func adopt(_ capabilities: Capabilities, store: Bool) {
    found.withLock { $0 = capabilities }
    guard store else { return }
    DiskCache.standard("programs").store(
      Capabilities.key(of: self), Array(capabilities.description.utf8))
  }

  /// What is known to fail among the probes.
  public var probeVerdicts: Verdicts { Verdicts(Capabilities.key(of: self)) }

  /// Everything that a built program depends on besides its source.
  package var identity: [String] {
    [name, vendor, version, driverVersion, platformName, platformVersion] + (pretence.map { [$0.name] } ?? [])
  }

  /// False for sub-groups of a size that the pretended device does not have.
  func mayHaveSubgroups(of size: Int) -> Bool { pretence?.subgroupSizes.contains(size) ?? true }

  /// One line for every GPU of this machine that has no OpenCL device, naming the package that brings its driver.
  ///
  /// GPUs are found in `root`/class/drm, by the vendor number of their PCI device.
  public static func missingDriverAdvice(sysfs root: String = "/sys", for devices: [Device]? = nil)
    -> [String]
  {
    let devices = devices ?? (try? all()) ?? []
    let served = Set(devices.filter { $0.kind <= .integratedGPU }.map(\.vendorID))
    let packages: KeyValuePairs<UInt32, String> = [
      0x8086: "an Intel GPU has no OpenCL driver: apt install intel-opencl-icd",
      0x1002: "an AMD GPU has no OpenCL driver: apt install mesa-opencl-icd and set RUSTICL_ENABLE=radeonsi, "
        + "or install ROCm",
      0x10de: "an NVIDIA GPU has no OpenCL driver: install NVIDIA's driver with nvidia-opencl-icd",
    ]
    let present = drmVendors(root)
    return packages.filter { present.contains($0.key) && !served.contains($0.key) }.map(\.value)
  }

  static func drmVendors(_ root: String) -> Set<UInt32> {
    Set(
      paths(matching: root + "/class/drm/*/device/vendor").compactMap { path in
        let text = readFile(path, limit: 64) ?? []
        let digits = String(decoding: text.dropFirst(2).prefix { $0 > 0x20 }, as: UTF8.self)  // "0x8086\n"
        return UInt32(digits, radix: 16)
      })
  }

  private static func holds(_ text: String, _ word: some StringProtocol) -> Bool {
    let text = Array(text.lowercased().utf8)
    let word = Array(word.utf8)
    return text.indices.contains { text[$0...].starts(with: word) }
  }

  private static func ids(
    _ query: (cl_uint, UnsafeMutablePointer<OpaquePointer?>?, UnsafeMutablePointer<cl_uint>?) -> cl_int
  ) -> [OpaquePointer] {
    var count: cl_uint = 0
    guard query(0, nil, &count) == CL_SUCCESS, count > 0 else { return [] }
    var ids = [OpaquePointer?](repeating: nil, count: Int(count))
    guard query(count, &ids, nil) == CL_SUCCESS else { return [] }
    return ids.compactMap { $0 }
  }

  private static func text(_ id: cl_device_id, _ property: Int32) -> String {
    readText { cl.clGetDeviceInfo(id, cl_device_info(property), $0, $1, $2) }
  }

  private static func value<T: BitwiseCopyable>(_ id: cl_device_id, _ property: Int32, _ initial: T) -> T {
    var value = initial
    let code = cl.clGetDeviceInfo(id, cl_device_info(property), MemoryLayout<T>.size, &value, nil)
    return code == CL_SUCCESS ? value : initial
  }
}

/// Reads a text by the two calls that every clGet…Info wants: its size, then its bytes. Empty on failure.
func readText(_ query: (Int, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>?) -> cl_int) -> String {
  var size = 0
  guard query(0, nil, &size) == CL_SUCCESS, size > 0 else { return "" }
  var bytes = [UInt8](repeating: 0, count: size)
  guard query(size, &bytes, nil) == CL_SUCCESS else { return "" }
  let text = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  return String(text.drop { $0 == " " })
}
