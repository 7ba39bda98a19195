/// Another device's limits and capabilities, to which `FLASHCL_PRETEND` narrows every device of the process.
///
/// A machine without that device then makes the choices that it would make there: its strategies, its tiles, and the
/// fallbacks for what it lacks. Nothing ever widens: limits are the smaller of the two, and an extension that the real
/// device lacks stays lacking. Only the kind changes, because it decides which strategies come first. A processor keeps its
/// prefetch, which CPU strategies alone use, so that pretending builds the same programs.
public struct Pretence: Sendable, Equatable {
  /// The value of `FLASHCL_PRETEND`.
  public let name: String
  /// The devices meant.
  public let meaning: String
  let kind: DeviceKind
  /// In bytes.
  let localMemory, maxAllocation: Int
  let maxWorkGroup: Int
  /// The sizes of its sub-groups; none where its OpenCL has no sub-groups.
  let subgroupSizes: Set<Int>
  let hasHalf, hasIntegerDot, isNVIDIA: Bool
  /// Its matrix unit, which an emulation stands for.
  public let matrixUnit: MatrixUnit?

  private init(
    _ name: String, _ meaning: String, _ kind: DeviceKind, localKiB: Int, maxWorkGroup: Int,
    maxAllocation: Int = .max, subgroups: Set<Int> = [], half: Bool = false, integerDot: Bool = false,
    isNVIDIA: Bool = false, matrixUnit: MatrixUnit? = nil
  ) {
    (self.name, self.meaning, self.kind) = (name, meaning, kind)
    localMemory = localKiB << 10
    (self.maxWorkGroup, self.maxAllocation) = (maxWorkGroup, maxAllocation)
    subgroupSizes = subgroups
    (hasHalf, hasIntegerDot, self.isNVIDIA) = (half, integerDot, isNVIDIA)
    self.matrixUnit = matrixUnit
  }

  /// What can be pretended. Numbers are those that the drivers report for themselves, as clinfo prints them.
  public static let all = [
    // ROCm and AMD's PAL driver: 64 KiB, groups of 256 (the hardware takes 1024), waves of 32.
    Pretence(
      "rdna2", "AMD Radeon RX 6000", .discreteGPU, localKiB: 64, maxWorkGroup: 256, subgroups: [32],
      half: true, integerDot: true),
    // The same drivers on GCN and CDNA: waves of 64.
    Pretence(
      "gcn", "AMD Radeon RX 400 to VII", .discreteGPU, localKiB: 64, maxWorkGroup: 256, subgroups: [64],
      half: true),
    Pretence(
      "rdna3", "AMD Radeon RX 7000", .discreteGPU, localKiB: 64, maxWorkGroup: 256, subgroups: [32],
      half: true, integerDot: true, matrixUnit: .wmma),
    Pretence(
      "cdna", "AMD Instinct MI200 and MI300", .discreteGPU, localKiB: 64, maxWorkGroup: 256, subgroups: [64],
      half: true, integerDot: true, matrixUnit: .mfma),
    // compute-runtime (NEO) on Tiger Lake's Iris Xe: groups of 512; sub-groups of 8, 16 and 32; DP4A.
    Pretence(
      "xe", "Intel Iris Xe", .integratedGPU, localKiB: 64, maxWorkGroup: 512, maxAllocation: 4 << 30,
      subgroups: [8, 16, 32], half: true, integerDot: true),
    // NEO on Arc A and Arc B: groups of 1024; sub-groups of 8 only where matrix units are made for them.
    Pretence(
      "arc", "Intel Arc A", .discreteGPU, localKiB: 64, maxWorkGroup: 1024, maxAllocation: 4 << 30,
      subgroups: [8, 16, 32], half: true, integerDot: true, matrixUnit: .dpas8),
    Pretence(
      "xe2", "Intel Arc B", .discreteGPU, localKiB: 64, maxWorkGroup: 1024, maxAllocation: 4 << 30,
      subgroups: [16, 32], half: true, integerDot: true, matrixUnit: .dpas16),
    // NEO on Gen9 (HD 530): groups of 256, no DP4A.
    Pretence(
      "gen9", "Intel HD Graphics 500 and 600", .integratedGPU, localKiB: 64, maxWorkGroup: 256,
      maxAllocation: 4 << 30, subgroups: [8, 16, 32], half: true),
    // NVIDIA's own driver, whichever GPU: 48 KiB, groups of 1024; neither cl_khr_fp16 nor cl_khr_subgroups is listed.
    Pretence(
      "turing", "NVIDIA GeForce RTX 20", .discreteGPU, localKiB: 48, maxWorkGroup: 1024, isNVIDIA: true),
    // Qualcomm's driver on Adreno 740: 32 KiB, groups of 1024, 1 GiB in one buffer, waves of 64 and 128.
    Pretence(
      "adreno", "Qualcomm Adreno 600 and 700", .integratedGPU, localKiB: 32, maxWorkGroup: 1024,
      maxAllocation: 1 << 30, subgroups: [64, 128], half: true, integerDot: true),
    // Arm's driver on Bifrost (G52, G71, G76): 32 KiB, groups of 384; warps of 4 (G71) to 8 (G52, G76).
    Pretence(
      "mali", "Arm Mali-G52 to G76", .integratedGPU, localKiB: 32, maxWorkGroup: 384,
      maxAllocation: 1 << 30, subgroups: [4, 8], half: true),
    // Apple's OpenCL 1.2 on M1: 32 KiB, groups of 256, neither half nor sub-groups.
    Pretence("m1", "Apple M1", .integratedGPU, localKiB: 32, maxWorkGroup: 256, maxAllocation: 1 << 30),
    // What OpenCL 1.2 asks of a full profile (table 4.3): 32 KiB, 128 MiB in one buffer, groups of 1.
    Pretence(
      "minimum", "the least that OpenCL 1.2 allows", .integratedGPU, localKiB: 32, maxWorkGroup: 1,
      maxAllocation: 128 << 20),
  ]

  /// The one that a name means, in any case; nil for nil.
  ///
  /// Throws `CLError.refused` with the list of all names for one that is unknown.
  static func named(_ name: String?) throws(CLError) -> Pretence? {
    guard let name else { return nil }
    if let match = all.first(where: { $0.name == name.lowercased() }) { return match }
    let names = all.map { "\($0.name) (\($0.meaning))" }.joined(separator: ", ")
    throw .refused("FLASHCL_PRETEND=\(name) is no device to pretend to be; there is \(names)")
  }

  /// False for an extension that the pretended device does not list.
  func keeps(_ extensionName: String) -> Bool {
    switch extensionName {
    case "cl_khr_fp16": hasHalf
    case "cl_khr_integer_dot_product": hasIntegerDot
    case "cl_nv_device_attribute_query": isNVIDIA
    case _ where extensionName.contains("subgroup"): !subgroupSizes.isEmpty
    default: true
    }
  }
}
