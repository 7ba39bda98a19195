import COpenCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What of a machine decides whether OpenCL works on it, read once: `Finding`s follow from it alone.
public struct SystemSnapshot: Sendable {
  /// A device as its driver describes it, usable or not.
  public struct DeviceFacts: Sendable, Equatable {
    public var name = ""
    public var kind = DeviceKind.cpu
    public var vendorID: UInt32 = 0
    public var localMemory = 32 << 10  // bytes
    /// Why it cannot be used; nil when it can.
    public var unusable: String?
  }

  public struct Platform: Sendable {
    public var name = ""
    public var devices: [DeviceFacts] = []
  }

  /// A file of the vendor folder: one line that names a driver's library.
  public struct Registration: Sendable {
    public var path = ""
    public var library = ""
    /// False where a path leads nowhere; a bare name is the loader's to find.
    public var isThere = true
  }

  /// A device file of the kernel that a driver opens.
  public struct Node: Sendable {
    public var path = ""
    /// The group that may open it, by name or number.
    public var group = ""
    public var mayOpen = true
  }

  /// Why libOpenCL could not be opened; nil when it is there.
  public var libraryError: String?
  public var platforms: [Platform] = []
  public var vendorFolder = "/etc/OpenCL/vendors"
  /// `OCL_ICD_VENDORS` chose the vendor folder.
  public var vendorFolderIsChosen = false
  public var registrations: [Registration] = []
  /// Libraries of known drivers, wherever they lie.
  public var driverLibraries: [String] = []
  public var nodes: [Node] = []
  /// PCI numbers of the makers of this machine's GPUs.
  public var gpuVendors: Set<UInt32> = []
  public var user = "you"
  /// Groups of this process, and those that the system will give the user at the next login.
  public var groups: Set<String> = []
  public var futureGroups: Set<String> = []
  public var distribution = Distribution(release: "")
  /// The value of `RUSTICL_ENABLE`.
  public var rusticlDrivers: String?
  public var pretence: String?

  public init() {}

  /// The usable devices.
  public var usable: [DeviceFacts] { platforms.flatMap(\.devices).filter { $0.unusable == nil } }

  /// This machine, as it is now. Drivers are loaded, and nothing is built or run.
  public static func current() -> SystemSnapshot {
    var system = SystemSnapshot()
    do { try requireLibrary() } catch {
      if case .noLibrary(let reason) = error { system.libraryError = reason }
    }
    if system.libraryError == nil {
      system.platforms = Device.platforms().map { platform in
        Platform(
          name: Device.name(of: platform),
          devices: Device.devices(of: platform).map { id in
            let device = Device(id, platform: platform, as: nil)
            return DeviceFacts(
              name: device.name, kind: device.kind, vendorID: device.vendorID,
              localMemory: device.localMemory, unusable: Device.unusable(id))
          })
      }
    }
    if let chosen = environment("OCL_ICD_VENDORS") {
      (system.vendorFolder, system.vendorFolderIsChosen) = (chosen, true)
    }
    let files =
      system.vendorFolder.hasSuffix(".icd")
      ? [system.vendorFolder] : paths(matching: system.vendorFolder + "/*.icd")
    system.registrations = files.compactMap { path in
      guard let text = readFile(path, limit: 4096) else { return nil }
      let library = String(decoding: text.prefix { $0 != 0x0A && $0 != 0x0D }, as: UTF8.self)
      return Registration(
        path: path, library: library, isThere: !library.contains("/") || access(library, F_OK) == 0)
    }
    system.driverLibraries = Driver.all.flatMap { driver in
      libraryFolders.flatMap { paths(matching: "\($0)/\(driver.pattern)") }.prefix(1)
    }
    system.nodes = ["/dev/dri/renderD*", "/dev/kfd", "/dev/nvidia[0-9]*", "/dev/nvidiactl"]
      .flatMap { paths(matching: $0) }.map(node)
    system.gpuVendors = Device.drmVendors("/sys")
    (system.user, system.groups, system.futureGroups) = account()
    system.distribution = Distribution(
      release: String(decoding: readFile("/etc/os-release", limit: 1 << 16) ?? [], as: UTF8.self))
    system.rusticlDrivers = environment("RUSTICL_ENABLE")
    system.pretence = environment("FLASHCL_PRETEND")
    return system
  }

  /// Where distributions, vendors and container runtimes put drivers.
  private static let libraryFolders = [
    "/usr/lib/*-linux-gnu*", "/usr/lib/*-linux-gnu*/intel-opencl", "/usr/lib/*-linux-gnu*/nvidia/current",
    "/usr/lib64", "/usr/lib64/intel-opencl", "/usr/lib", "/usr/lib/intel-opencl", "/usr/local/lib",
    "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib", "/opt/rocm*/lib", "/opt/amdgpu*/lib/*-linux-gnu",
    "/opt/intel/oneapi/compiler/latest/lib",
  ]

  private static func node(_ path: String) -> Node {
    var facts = stat()
    guard stat(path, &facts) == 0 else { return Node(path: path, mayOpen: false) }
    return Node(path: path, group: name(ofGroup: facts.st_gid), mayOpen: access(path, R_OK | W_OK) == 0)
  }

  private static func account() -> (user: String, groups: Set<String>, future: Set<String>) {
    func names(_ ids: [gid_t]) -> Set<String> { Set(ids.map(name(ofGroup:))) }
    var ids = [gid_t](repeating: 0, count: Int(max(0, getgroups(0, nil))))
    let count = Int(getgroups(Int32(ids.count), &ids))
    let groups = names(Array(ids.prefix(max(0, count))) + [getegid()])
    // The reentrant calls: another thread may ask for names too.
    var (entry, found) = (passwd(), UnsafeMutablePointer<passwd>?.none)
    var text = [CChar](repeating: 0, count: 1 << 16)
    let user = text.withUnsafeMutableBufferPointer { text -> String? in
      guard let start = text.baseAddress,
        getpwuid_r(geteuid(), &entry, start, text.count, &found) == 0, found != nil
      else { return nil }
      return String(cString: entry.pw_name)
    }
    guard let user else { return ("\(geteuid())", groups, []) }
    let primary = entry.pw_gid
    var future = [gid_t](repeating: 0, count: 256)
    var length = Int32(future.count)
    guard getgrouplist(user, primary, &future, &length) >= 0 else { return (user, groups, []) }
    return (user, groups, names(Array(future.prefix(Int(length)))))
  }

  /// A group's name; its number where it has none, as in containers.
  private static func name(ofGroup id: gid_t) -> String {
    var (entry, found) = (group(), UnsafeMutablePointer<group>?.none)
    var text = [CChar](repeating: 0, count: 1 << 16)
    return text.withUnsafeMutableBufferPointer { text in
      guard let start = text.baseAddress, getgrgid_r(id, &entry, start, text.count, &found) == 0, found != nil
      else { return "\(id)" }
      return String(cString: entry.gr_name)
    }
  }
}

/// The paths that a shell's pattern stands for, in order.
func paths(matching pattern: String) -> [String] {
  var found = glob_t()
  defer { globfree(&found) }
  guard glob(pattern, 0, nil, &found) == 0, let list = found.gl_pathv else { return [] }
  return (0..<Int(found.gl_pathc)).compactMap { list[$0].map { String(cString: $0) } }
}
