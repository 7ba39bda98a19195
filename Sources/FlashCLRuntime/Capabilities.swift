/// A preprocessor definition; the name may carry parameters, as in `Define("SCORE(s, i, j)", "(s) * 2.0f")`.
public struct Define: Hashable, Sendable, CustomStringConvertible {
  public let name, value: String

  public init(_ name: String, _ value: some CustomStringConvertible = 1) {
    self.name = name
    self.value = value.description
  }

  /// As a line of source text: unlike an option `-D`, it may hold spaces, commas and quotes.
  public var description: String { "#define \(name) \(value)" }
}

/// Something known about a driver that it does not say of itself. The only place where vendors are named.
public struct Quirk: Sendable, Equatable {
  public let name, reason: String

  static let inlinePTX = Quirk(
    name: "inline-ptx",
    reason: "NVIDIA's OpenCL C takes inline PTX, the only way to its matrix units: probes for those may run")
  static let compilesAtLaunch = Quirk(
    name: "compiles-at-launch",
    reason: "PoCL compiles again at the first launch of a kernel with a new local size: time after a warm-up")
  static let slowBinaries = Quirk(
    name: "slow-binaries",
    reason:
      "PoCL finds what it has built only after it has read the source again (40 ms a program; 6 ms with a binary), and "
      + "makes a binary by compiling every kernel once more (2 s where the build took 0.5): binaries are made when "
      + "programs are built ahead of a run, on all processors, and not when one is built on demand")

  static let translatesToSPIRV = Quirk(
    name: "translates-to-spirv",
    reason:
      "rusticl (Mesa 22.3) turns OpenCL C into SPIR-V, and its translator ends the process at a builtin of clang that "
      + "SPIR-V lacks (\"Unexpected llvm intrinsic: llvm.prefetch\"): none is probed")

  static func known(platform: String, extensions: Set<String>) -> [Quirk] {
    var quirks: [Quirk] = []
    if extensions.contains("cl_nv_device_attribute_query") { quirks.append(inlinePTX) }
    if platform == "Portable Computing Language" { quirks += [compilesAtLaunch, slowBinaries] }
    if platform == "rusticl" { quirks.append(translatesToSPIRV) }
    return quirks
  }
}

/// What a device can do beyond OpenCL C 1.2, each proved by a probe that was compiled and run on it.
public struct Capabilities: Sendable, Equatable, LosslessStringConvertible {
  /// The `-cl-std` under which the most probes pass; every program is built with it.
  public var language = "CL1.2"
  /// Arithmetic on `half`, not only its storage.
  public var halfArithmetic = false
  /// Items of a sub-group in a kernel marked `SUBGROUP_KERNEL` with a one-dimensional group; 0 without sub-groups.
  public var subgroupSize = 0
  /// The sub-group size has to be asked for, by an attribute (`SUBGROUP_KERNEL`).
  public var subgroupSizeIsRequired = false
  /// `SUBGROUP_SHUFFLE(x, lane)` reads another item's value.
  public var subgroupShuffle = false
  /// `dot_4x8packed_ss_int` and its kin.
  public var integerDotProduct = false
  /// PTX `mma.m16n8k16`, half inputs and float sums.
  public var matrixM16N8K16 = false
  /// The same with bf16 inputs.
  public var matrixM16N8K16BFloat = false
  /// PTX `ldmatrix`, plain and transposing.
  public var matrixLoads = false
  /// PTX `cp.async` of 16 bytes.
  public var asynchronousCopies = false
  /// PTX `shfl.sync`.
  public var warpShuffle = false
  /// Items of a sub-group that `intel_sub_group_f16_f16_matrix_mad_k16` and its sibling for bf16 are made for: 16, 8, or 0 without.
  public var subgroupMatrix = 0
  /// Lanes of a wave by which `__builtin_amdgcn_wmma…` (32) or `…mfma…` (64) multiply, in f16 and bf16; 0 without.
  public var waveMatrix = 0

  /// PTX `membar.gl`: a fence between groups.
  public var membar = false
  /// `__builtin_amdgcn_fence` for the whole device: AMD's own OpenCL orders the groups of one launch by nothing less.
  public var agentFence = false

  /// A PTX module that was written by hand is taken for a program's binary.
  public var modules = false
  /// A kernel can be launched with 64 KiB of local memory where the device speaks of less.
  public var moreLocalMemory = false

  /// `__builtin_prefetch`, on CPU devices: OpenCL C's own `prefetch` does nothing there.
  public var prefetch = false

  /// Plain OpenCL C 1.2.
  public static let none = Capabilities()

  /// The matrix unit that works with both f16 and bf16.
  public var matrixUnit: MatrixUnit? {
    if matrixM16N8K16 && matrixM16N8K16BFloat { return .mma }
    return [.dpas16, .dpas8].first { $0.lanes == subgroupMatrix }
      ?? [.wmma, .mfma].first { $0.lanes == waveMatrix }
  }

  /// HAS_… for everything found that kernels ask for; absent, not 0, for the rest.
  public var defines: [Define] {
    var defines: [Define] = []
    if halfArithmetic { defines.append(Define("HAS_HALF")) }
    if subgroupSize > 0 {
      let attribute = "__attribute__((intel_reqd_sub_group_size(\(subgroupSize))))"
      defines += [Define("HAS_SUBGROUPS"), Define("SUBGROUP_SIZE", subgroupSize)]
      defines.append(Define("SUBGROUP_KERNEL", subgroupSizeIsRequired ? attribute : ""))
    }
    if subgroupShuffle { defines.append(Define("HAS_SUBGROUP_SHUFFLE")) }
    if integerDotProduct { defines.append(Define("HAS_INTEGER_DOT")) }
    if matrixM16N8K16 { defines.append(Define("HAS_MMA_M16N8K16")) }
    if matrixM16N8K16BFloat { defines.append(Define("HAS_MMA_M16N8K16_BF16")) }
    if matrixLoads { defines.append(Define("HAS_LDMATRIX")) }
    if asynchronousCopies { defines.append(Define("HAS_CP_ASYNC")) }
    if warpShuffle { defines.append(Define("HAS_WARP_SHUFFLE")) }
    if subgroupMatrix > 0 { defines.append(Define("HAS_SUBGROUP_MATRIX", subgroupMatrix)) }
    if waveMatrix > 0 { defines.append(Define("HAS_WAVE_MATRIX", waveMatrix)) }
    if prefetch { defines.append(Define("HAS_PREFETCH")) }
    if membar { defines.append(Define("HAS_MEMBAR")) }
    if agentFence { defines.append(Define("HAS_AGENT_FENCE")) }
    return defines
  }

  /// What stands before every program built with these capabilities: extensions switched on, and the defines.
  func preamble(for device: Device) -> String {
    var lines: [String] = []
    if halfArithmetic { lines.append("#pragma OPENCL EXTENSION cl_khr_fp16 : enable") }
    if subgroupSize > 0 {
      for name in ["cl_khr_subgroups", "cl_intel_subgroups"] where device.extensions.contains(name) {
        lines.append("#pragma OPENCL EXTENSION \(name) : enable")
      }
    }
    lines += defines.map(\.description)
    if subgroupShuffle {
      let khronos = device.extensions.contains("cl_khr_subgroup_shuffle")
      let function = khronos ? "sub_group_shuffle" : "intel_sub_group_shuffle"
      lines.append("#define SUBGROUP_SHUFFLE(x, lane) \(function)(x, lane)")
    }
    return lines.map { $0 + "\n" }.joined()
  }

  // MARK: Probing

  /// One capability: when it is worth trying (an extension that nobody advertises is never compiled: a driver may crash
  /// on what it does not know), what to assume while trying, and a kernel of one group of 64 items that leaves its item
  /// number in `out` where all is well.
  struct Probe: Sendable {
    let name: String
    let worthTrying: @Sendable (Device, Capabilities) -> Bool
    let assume: @Sendable (inout Capabilities) -> Void
    let body: String
    /// One of several sizes, of which at most one is right.
    var isGuess = false
    /// The body is a whole module in the device's own language, whose kernel is `probe`.
    var isModule = false
    /// What stands before the kernel, in place of SUBGROUP_KERNEL.
    var attribute: String?
    /// Bytes of `local int *memory`, which the kernel takes where this is not 0.
    var localBytes = 0
  }

  private static func subgroups(of size: Int, required: Bool) -> Probe {
    Probe(
      name: "subgroups",
      worthTrying: { device, known in
        known.subgroupSize == 0 && device.mayHaveSubgroups(of: size)
          && device.extensions.contains("cl_intel_required_subgroup_size") == required
          && !device.extensions.isDisjoint(with: ["cl_khr_subgroups", "cl_intel_subgroups"])
      },
      assume: {
        $0.subgroupSize = size
        $0.subgroupSizeIsRequired = required
      },
      body: """
        const bool size = get_sub_group_size() == SUBGROUP_SIZE && sub_group_reduce_add(1) == SUBGROUP_SIZE;
        const bool lane = get_sub_group_local_id() == item % SUBGROUP_SIZE;
        out[item] = size && lane && sub_group_broadcast(item, 1) == item / SUBGROUP_SIZE * SUBGROUP_SIZE + 1 ? item : -1;
        """,
      isGuess: true)
  }

  private static let probes: [Probe] = general + subgroupUnits + waveUnits + inlinePTX

  private static let general: [Probe] = [
    Probe(
      name: "half",
      worthTrying: { device, _ in device.extensions.contains("cl_khr_fp16") },
      assume: { $0.halfArithmetic = true },
      body: "out[item] = (int)(fma((half4)((half)item), (half4)(2.0h), (half4)(1.0h)).w - (half)(item + 1));"),
    // The size that most kernels want first; without the attribute the device has one natural size.
    subgroups(of: 16, required: true), subgroups(of: 32, required: true), subgroups(of: 8, required: true),
    subgroups(of: 32, required: false), subgroups(of: 64, required: false),
    subgroups(of: 16, required: false),
    subgroups(of: 8, required: false),
    Probe(
      name: "subgroup-shuffle",
      worthTrying: { device, known in
        known.subgroupSize > 0
          && !device.extensions.isDisjoint(with: ["cl_khr_subgroup_shuffle", "cl_intel_subgroups"])
      },
      assume: { $0.subgroupShuffle = true },
      body: """
        const float other = SUBGROUP_SHUFFLE((float)item, (uint)(get_sub_group_local_id() ^ 1));
        out[item] = (int)other ^ 1;
        """),
    Probe(
      name: "integer-dot",
      worthTrying: { device, _ in device.extensions.contains("cl_khr_integer_dot_product") },
      assume: { $0.integerDotProduct = true },
      body: "out[item] = dot_4x8packed_ss_int(0x01FF0203u, 0x04030201u + (uint)(item << 24)) - 8;"),
    Probe(
      name: "agent-fence",
      worthTrying: { device, _ in device.extensions.contains("cl_amd_device_attribute_query") },
      assume: { $0.agentFence = true },
      body: """
        __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent");
        out[item] = item;
        """),
    Probe(
      name: "prefetch",
      worthTrying: { device, _ in device.isProcessor && !device.quirks.contains(.translatesToSPIRV) },
      assume: { $0.prefetch = true },
      body: """
        __builtin_prefetch((const void *)(ulong)(out + item));
        out[item] = item;
        """),
  ]

  /// What the capabilities of a device depend on: their file's key, and that of the verdicts on its probes.
  static func key(of device: Device) -> Fingerprint {
    var key = Fingerprint()
    for text in device.identity + device.extensions.sorted() + probes.flatMap({ [$0.name, $0.body] }) {
      key.combine(text)
    }
    return key
  }

  /// What is known of a device without running anything on it: nil where probes have to be run.
  static func known(of device: Device, cache: DiskCache) -> Capabilities? {
    if let bytes = cache.load(key(of: device)) {
      if let known = Capabilities(String(decoding: bytes, as: UTF8.self)) { return known }
    }
    return probes.contains { $0.worthTrying(device, .none) } ? nil : Capabilities.none
  }

  /// The capabilities of a device: from the cache, or found now and stored there.
  ///
  /// Probes that ended a process twice are left out.
  static func probed(on device: Device, cache: DiskCache) -> Capabilities {
    if let known = known(of: device, cache: cache) { return known }
    let verdicts = Verdicts(key(of: device))
    let best = found(on: device, leavingOut: Set(verdicts.disabled.map(\.subject)))
    cache.store(key(of: device), Array(best.description.utf8))
    return best
  }

  /// What became of a probe, told while probes are run.
  public enum Probing: Sendable, Equatable {
    case begins(String)
    case passed(String)
    /// It ran and its results were wrong, which no driver that advertises the extension should let happen.
    case wrong(String)
  }

  /// Runs the probes, but for those of the names in `leavingOut` ("probe.half").
  static func found(
    on device: Device, leavingOut: Set<String>, report: (Probing) -> Void = { _ in }
  ) -> Capabilities {
    var best = Capabilities.none
    for language in ["CL1.2", "CL3.0", "CL2.0"] {
      let (other, missed) = found(on: device, language: language, leavingOut, report)
      if other.defines.count > best.defines.count { best = other }
      // No other language can add to that, and each is built again for it.
      if missed.isEmpty { break }
    }
    return best
  }

  private static func found(
    on device: Device, language: String, _ leavingOut: Set<String>, _ report: (Probing) -> Void
  ) -> (known: Capabilities, missed: Set<String>) {
    var known = Capabilities.none
    known.language = language
    var missed: Set<String> = []
    for probe in probes where probe.worthTrying(device, known) {
      let subject = "probe.\(probe.name)"
      if leavingOut.contains(subject) { continue }
      var assumed = known
      probe.assume(&assumed)
      report(.begins(subject))
      let key = key(of: device)
      Sentinel.begin(key, subject, language)
      let passed = try? passes(probe, on: device, assuming: assumed)
      Sentinel.settle(key)
      if passed == true {
        known = assumed
        missed.remove(probe.name)  // of several guesses
        report(.passed(subject))
      } else {
        missed.insert(probe.name)
      }
      if passed == false && !probe.isGuess { report(.wrong(subject)) }
    }
    return (known, missed)
  }

  private static func passes(_ probe: Probe, on device: Device, assuming: Capabilities) throws -> Bool {
    let queue = try Queue(device, capabilities: assuming, cache: DiskCache(folder: nil))
    let text = """
      #ifndef SUBGROUP_KERNEL
      #define SUBGROUP_KERNEL
      #endif
      \(probe.attribute ?? "SUBGROUP_KERNEL") kernel void probe(global int *out\(probe.localBytes > 0 ? ", local int *memory" : "")) {
        const int item = get_local_id(0);
        \(probe.body)
      }
      """
    let source = Source(name: "probe-\(probe.name).cl", text: text)
    let kernel =
      probe.isModule
      ? try queue.kernel("probe", ofModule: probe.body) : try queue.kernel("probe", in: source, defines: [])
    let memory: [Argument] = probe.localBytes > 0 ? [.local(bytes: probe.localBytes)] : []
    var result = [Int32](repeating: -1, count: 64)
    let out = try queue.allocate(256)
    try queue.launch(kernel, global: [64], local: [64], [.buffer(out)] + memory)
    try result.withUnsafeMutableBytes { try queue.read(out, into: $0) }
    return result.elementsEqual(0..<64)
  }

  /// One line, which `init(_:)` reads.
  public var description: String {
    let flags = [
      halfArithmetic, subgroupSizeIsRequired, subgroupShuffle, integerDotProduct, matrixM16N8K16, prefetch,
      matrixM16N8K16BFloat, matrixLoads, asynchronousCopies, warpShuffle, membar, agentFence,
      modules, moreLocalMemory,
    ]
    return "\(language) \(subgroupSize) \(subgroupMatrix) \(waveMatrix) "
      + flags.map { $0 ? "1" : "0" }.joined(separator: " ")
  }

  public init?(_ text: String) {
    let fields = text.split(separator: " ")
    guard fields.count == 18, let size = Int(fields[1]), let subgroup = Int(fields[2]),
      let wave = Int(fields[3])
    else { return nil }
    language = String(fields[0])
    (subgroupSize, subgroupMatrix, waveMatrix) = (size, subgroup, wave)
    halfArithmetic = fields[4] == "1"
    subgroupSizeIsRequired = fields[5] == "1"
    subgroupShuffle = fields[6] == "1"
    integerDotProduct = fields[7] == "1"
    matrixM16N8K16 = fields[8] == "1"
    prefetch = fields[9] == "1"
    matrixM16N8K16BFloat = fields[10] == "1"
    matrixLoads = fields[11] == "1"
    asynchronousCopies = fields[12] == "1"
    warpShuffle = fields[13] == "1"
    membar = fields[14] == "1"
    agentFence = fields[15] == "1"
    modules = fields[16] == "1"
    moreLocalMemory = fields[17] == "1"
  }

  public init() {}
}
