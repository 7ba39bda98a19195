import ArgumentParser
import FlashCLOpenCL
import FlashCLRuntime

struct Devices: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices", abstract: "Lists the OpenCL devices of this machine.",
    discussion: """
      The best comes first: gpu:0, or gpu, is the one that is taken by default. Capabilities are what small probes, \
      compiled and run on the device, have shown to work; what 'flashcl check' found to fail there is listed, and other \
      commands leave it out. With --doctor, what keeps OpenCL or a GPU from working here, and the command that mends it; \
      the exit status is 1 where no device can be used. FLASHCL_PRETEND narrows every device to another's limits: \
      \(Pretence.all.map(\.name).joined(separator: ", ")).
      Example: flashcl devices --doctor
      """)

  @OptionGroup var output: FormatOption
  @Flag(help: "Explain what is missing or forbidden, and how to mend it.")
  var doctor = false

  func run() throws {
    if doctor { return try Doctor.run(json: output.isJSON) }
    let report = Report()
    if output.isJSON { return try Output.json(report) }
    for device in report.devices { try Output.line(device.text) }
    if let problem = report.problem { try Output.line(problem) }
    for advice in report.advice { try Output.line(advice) }
    try Output.line("cpu  the reference, slow and exact, is always there")
  }

  private struct Report: Encodable {
    var devices: [Entry] = []
    /// Why there is no device.
    @Nullable var problem: String?
    /// What to install for GPUs that have no driver.
    var advice: [String] = []

    init() {
      problem = nil
      do {
        let all = try Device.all()
        devices = try all.indices.map { index in
          let device = try Device.select("gpu:\(index)")
          try FirstContact.meet(device)
          return try Entry("gpu:\(index)", device)
        }
        if all.isEmpty {
          problem = "no OpenCL device: apt install pocl-opencl-icd brings one that runs on the processor"
        }
        advice = Device.missingDriverAdvice(for: all)
      } catch {
        problem = "\(error)"
        advice = Device.missingDriverAdvice(for: [])
      }
    }
  }

  private struct Entry: Encodable {
    let id: String
    let name: String
    let kind: String
    let vendor: String
    let platform: String
    let platform_version: String
    let version: String
    let c_version: String
    let driver_version: String
    let compute_units: Int
    let max_work_group: Int
    let local_memory_bytes: Int
    let global_memory_bytes: Int
    let max_allocation_bytes: Int
    /// The device that this one pretends to be.
    @Nullable var pretends: String?
    @Nullable var capabilities: Found?
    let quirks: [[String: String]]
    /// When 'flashcl check' last ran every case here, as 2026-11-21T12:00:00Z.
    @Nullable var checked: String?
    /// Strategies and probes that failed and are left out.
    let disabled: [Disabled]
    /// What 'flashcl tune' found, beside the defaults.
    let tuning: [String]

    init(_ id: String, _ device: Device) throws {
      self.id = id
      name = device.name
      kind = device.kind.description
      vendor = device.vendor
      platform = device.platformName
      platform_version = device.platformVersion
      version = device.version
      c_version = device.cVersion
      driver_version = device.driverVersion
      compute_units = device.computeUnits
      max_work_group = device.maxWorkGroup
      local_memory_bytes = device.localMemory
      global_memory_bytes = device.globalMemory
      max_allocation_bytes = device.maxAllocation
      pretends = device.pretence.map { "\($0.name), \($0.meaning)" }
      capabilities = (try? device.capabilities()).map(Found.init)
      quirks = device.quirks.map { ["name": $0.name, "reason": $0.reason] }
      let verdicts = try OpenCLBackend.verdicts(on: device)
      checked = verdicts.checked.map(timestamp)
      disabled = (device.probeVerdicts.disabled + verdicts.disabled).map(Disabled.init)
      tuning = Tuning.stored(for: device).lines
    }

    var text: String {
      let rows = [
        ["", "platform", "\(platform), \(platform_version)"],
        ["", "versions", "\(version), \(c_version), driver \(driver_version)"],
        [
          "", "memory",
          "\(size(global_memory_bytes)), at most \(size(max_allocation_bytes)) in one buffer, "
            + "\(size(local_memory_bytes)) local",
        ],
        ["", "computes", "\(count(compute_units, "unit")), work-groups of up to \(max_work_group)"],
        ["", "can", capabilities?.text ?? "not be probed"],
      ]
      let pretending =
        pretends.map { [["", "pretends", "to be \($0): limits and capabilities are at most its"]] } ?? []
      let known = quirks.map { ["", "quirk", "\($0["name"] ?? ""): \($0["reason"] ?? "")"] }
      let failed = disabled.map { ["", "disabled", $0.text] }
      let proof = [["", "checked", checked ?? "never: run 'flashcl check'"]]
      let tuned = tuning.map { ["", "tuned", $0] }
      return "\(id)  \(name) (\(kind))\n" + table(rows + pretending + known + proof + failed + tuned)
    }
  }

  private struct Disabled: Encodable {
    /// "attention.lanes", or "probe.half".
    let name: String
    let outcome: String
    let reason: String
    /// The first case, or program, in which it failed.
    let trial: String
    let time: String

    init(_ verdict: Verdict) {
      name = verdict.subject
      outcome = verdict.outcome.rawValue
      reason = verdict.reason
      trial = verdict.trial
      time = timestamp(verdict.time)
    }

    var text: String { "\(name) \(outcome) on \(time.prefix(10)): \(reason) (\(trial))" }
  }

  private struct Found: Encodable {
    let language: String
    let half_arithmetic: Bool
    let subgroup_size: Int
    let subgroup_shuffle: Bool
    let integer_dot_product: Bool
    let matrix_m16n8k16: Bool
    let matrix_m16n8k16_bf16: Bool
    let matrix_loads: Bool
    let asynchronous_copies: Bool
    let warp_shuffle: Bool
    let subgroup_matrix: Int
    let wave_matrix: Int
    let prefetch: Bool
    let device_fence: Bool
    let modules: Bool
    let more_local_memory: Bool

    init(_ found: Capabilities) {
      language = found.language
      half_arithmetic = found.halfArithmetic
      subgroup_size = found.subgroupSize
      subgroup_shuffle = found.subgroupShuffle
      integer_dot_product = found.integerDotProduct
      matrix_m16n8k16 = found.matrixM16N8K16
      matrix_m16n8k16_bf16 = found.matrixM16N8K16BFloat
      matrix_loads = found.matrixLoads
      asynchronous_copies = found.asynchronousCopies
      warp_shuffle = found.warpShuffle
      (subgroup_matrix, wave_matrix) = (found.subgroupMatrix, found.waveMatrix)
      prefetch = found.prefetch
      device_fence = found.membar || found.agentFence
      (modules, more_local_memory) = (found.modules, found.moreLocalMemory)
    }

    var text: String {
      let names = [
        half_arithmetic ? "half arithmetic" : nil, subgroup_size > 0 ? "sub-groups of \(subgroup_size)" : nil,
        subgroup_shuffle ? "sub-group shuffles" : nil, integer_dot_product ? "integer dot products" : nil,
        matrix_m16n8k16 ? "16 × 8 × 16 matrix products in f16" : nil,
        matrix_m16n8k16_bf16 ? "in bf16" : nil, matrix_loads ? "matrix loads" : nil,
        asynchronous_copies ? "asynchronous copies" : nil, warp_shuffle ? "warp shuffles" : nil,
        subgroup_matrix > 0 ? "matrix products by sub-groups of \(subgroup_matrix)" : nil,
        wave_matrix > 0 ? "matrix products by waves of \(wave_matrix)" : nil,
        prefetch ? "prefetches" : nil, device_fence ? "fences between groups" : nil,
        modules ? "PTX modules as binaries" : nil, more_local_memory ? "64 KiB of local memory" : nil,
      ].compactMap { $0 }
      return ([language] + names).joined(separator: ", ")
    }
  }
}
