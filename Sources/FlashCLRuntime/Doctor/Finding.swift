/// Something about a machine that keeps OpenCL, or a part of it, from working; and what mends it.
public struct Finding: Sendable, Equatable {
  public enum Severity: String, Sendable {
    /// There is no device because of it.
    case error
    /// A device or a driver goes unused because of it.
    case warning
    case note
  }

  /// A fixed word, as `no-permission`.
  public let id: String
  public let severity: Severity
  public let problem: String
  /// What to do, in a sentence.
  public let remedy: String
  /// The same as commands for a shell, where there are such.
  public let commands: [String]

  init(_ id: String, _ severity: Severity, _ problem: String, _ remedy: String, _ commands: String?...) {
    (self.id, self.severity, self.problem, self.remedy) = (id, severity, problem, remedy)
    self.commands = commands.compactMap { $0 }
  }
}

extension SystemSnapshot {
  /// What is wrong, the gravest first; empty where all is well. It reads nothing but the snapshot.
  public var findings: [Finding] {
    let found =
      libraryFindings + registrationFindings + platformFindings + permissionFindings + nvidiaFindings
      + missingDriverFindings + deviceFindings + pretenceFindings
    let order: [Finding.Severity] = [.error, .warning, .note]
    return order.flatMap { severity in found.filter { $0.severity == severity } }
  }

  /// How grave it is that something does not work: with another device at hand, less.
  private var severity: Finding.Severity { usable.isEmpty ? .error : .warning }

  // MARK: - Loader, registrations, platforms

  private var libraryFindings: [Finding] {
    guard let libraryError else { return [] }
    return [
      Finding(
        "no-library", .error, "OpenCL's loader cannot be opened: \(libraryError)",
        "Install the loader (libOpenCL.so.1), or name it in FLASHCL_OPENCL_LIBRARY.",
        distribution.install(.loader))
    ]
  }

  private var registrationFindings: [Finding] {
    let broken = registrations.filter { !$0.isThere }.map {
      Finding(
        "broken-registration", severity, "\($0.path) names \($0.library), which is not there",
        "Install that driver again, or remove the file.", "sudo rm '\($0.path)'")
    }
    let unregistered = Driver.all.compactMap { driver -> Finding? in
      guard let library = driverLibraries.first(where: { fileName($0).hasPrefix(driver.stem) }),
        !registrations.contains(where: { fileName($0.library).hasPrefix(driver.stem) }),
        !platforms.contains(where: { $0.name.lowercased().contains(driver.platform) })
      else { return nil }
      if vendorFolderIsChosen {
        return Finding(
          "hidden-driver", usable.isEmpty ? .error : .note,
          "\(driver.name) driver, \(library), is not used: OCL_ICD_VENDORS chooses \(vendorFolder)",
          "Unset the variable, unless that is meant.", "unset OCL_ICD_VENDORS")
      }
      let file = "\(vendorFolder)/\(driver.stem.dropFirst(3)).icd"
      return Finding(
        "driver-without-icd", severity,
        "\(driver.name) driver is there, \(library), but no file in \(vendorFolder) names it",
        "Register it.", "sudo mkdir -p \(vendorFolder) && echo \(library) | sudo tee \(file)")
    }
    return broken + unregistered
  }

  private var platformFindings: [Finding] {
    if libraryError != nil { return [] }
    if platforms.isEmpty {
      let files = registrations.map(\.path).joined(separator: ", ")
      return [
        Finding(
          "no-platform", .error,
          "OpenCL has no platform: "
            + (files.isEmpty
              ? "no driver is registered in \(vendorFolder)"
              : "none of the drivers that \(vendorFolder) names could be loaded (\(files))"),
          "Install a driver; PoCL runs on any processor.", distribution.install(.pocl))
      ]
    }
    return platforms.filter(\.devices.isEmpty).map { platform in
      if platform.name.lowercased().contains("rusticl") {
        return Finding(
          "rusticl-without-devices", severity,
          "platform \(platform.name) has no device: "
            + (rusticlDrivers.map { "RUSTICL_ENABLE=\($0) names no driver that finds one" }
              ?? "RUSTICL_ENABLE is not set, and without it rusticl offers none"),
          "Name the driver of this machine's GPU; llvmpipe runs on the processor.",
          "export RUSTICL_ENABLE=\(rusticlDriver)")
      }
      return Finding(
        "platform-without-devices", severity, "platform \(platform.name) has no device",
        nodes.contains { !$0.mayOpen }
          ? "It may not open this machine's GPU; see below."
          : "Its hardware is not in this machine, or is off.")
    }
  }

  /// Mesa's name for the driver of this machine's GPU.
  private var rusticlDriver: String {
    let drivers: [(vendor: UInt32, name: String)] = [
      (0x1002, "radeonsi"), (0x8086, "iris"), (0x10de, "nouveau"),
    ]
    return drivers.first { gpuVendors.contains($0.vendor) }?.name ?? "llvmpipe"
  }

  private func fileName(_ path: String) -> Substring { path.split(separator: "/").last ?? "" }

  // MARK: - Permissions, drivers

  private var permissionFindings: [Finding] {
    let closed = nodes.filter { !$0.mayOpen && !$0.path.hasPrefix("/dev/nvidia") }
    return Set(closed.map(\.group)).sorted().map { group in
      let paths = closed.filter { $0.group == group }.map(\.path).joined(separator: ", ")
      let problem = "user \(user) may not open \(paths), which belongs to group \(group)"
      if futureGroups.contains(group) && !groups.contains(group) {
        return Finding(
          "no-permission", severity, problem, "You are in that group since this login began: log in again.",
          "newgrp \(group)")
      }
      if group == "root" || group.allSatisfy(\.isNumber) {
        return Finding(
          "no-permission", severity, problem,
          "In a container, start it with the group that owns the device outside (--group-add); else give the device "
            + "to group render by a udev rule.")
      }
      return Finding(
        "no-permission", severity, problem, "Join the group, then log in again.",
        distribution.family == .alpine
          ? "sudo addgroup \(user) \(group)" : "sudo usermod -aG \(group) \(user)")
    }
  }

  private var hasNVIDIADriver: Bool {
    driverLibraries.contains { fileName($0).hasPrefix("libnvidia-opencl") }
      || platforms.contains { $0.name.lowercased().contains("nvidia") }
  }

  /// The kernel's half of NVIDIA's driver without the other half. A driver without an ICD file is reported above.
  private var nvidiaFindings: [Finding] {
    let nodes = nodes.filter { $0.path.hasPrefix("/dev/nvidia") }
    guard let first = nodes.first else { return [] }
    if !hasNVIDIADriver {
      return [
        Finding(
          "nvidia-without-library", severity,
          "\(first.path) is there, but NVIDIA's OpenCL library (libnvidia-opencl.so.1) is not",
          "Install it, of the same version as the kernel's module; in a container, let the runtime mount it: "
            + "--gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility", distribution.install(.nvidia))
      ]
    }
    guard let closed = nodes.first(where: { !$0.mayOpen }) else { return [] }
    return [
      Finding(
        "no-permission", severity,
        "user \(user) may not open \(closed.path), which belongs to group \(closed.group)",
        "NVIDIA's module opens its files to all unless NVreg_DeviceFileMode says otherwise; join the group, then log in "
          + "again.", "sudo usermod -aG \(closed.group) \(user)")
    ]
  }

  private var missingDriverFindings: [Finding] {
    let makers: [(vendor: UInt32, name: String, component: Component, libraries: [String])] = [
      (0x8086, "an Intel", .intel, ["libigdrcl", "libRusticlOpenCL"]),
      (0x1002, "an AMD", .amd, ["libamdocl", "libRusticlOpenCL"]),
      (0x10de, "an NVIDIA", .nvidia, ["libnvidia-opencl", "libRusticlOpenCL"]),
    ]
    let served = Set(usable.filter { $0.kind <= .integratedGPU }.map(\.vendorID))
    return makers.compactMap { maker in
      let hasLibrary = driverLibraries.contains { path in
        maker.libraries.contains { fileName(path).hasPrefix($0) }
      }
      let hasNodes = maker.component == .nvidia && nodes.contains { $0.path.hasPrefix("/dev/nvidia") }
      guard gpuVendors.contains(maker.vendor), !served.contains(maker.vendor), !hasLibrary, !hasNodes else {
        return nil
      }
      return Finding(
        "gpu-without-driver", severity, "\(maker.name) GPU is in this machine, but no OpenCL driver for it",
        "Install its driver.", distribution.install(maker.component))
    }
  }

  // MARK: - Devices

  /// What the strategies that a GPU prefers take at least; see `tileBytes` of attention and `tiled` of linear.
  private static let wantedLocalMemory = 16 << 10

  private var deviceFindings: [Finding] {
    platforms.flatMap { platform in
      platform.devices.compactMap { device -> Finding? in
        if let reason = device.unusable {
          return Finding(
            "unusable-device", severity, "\(device.name) (\(platform.name)) cannot be used: \(reason)",
            "A newer driver may help.")
        }
        guard device.localMemory < Self.wantedLocalMemory else { return nil }
        return Finding(
          "little-local-memory", .warning,
          "\(device.name) has \(device.localMemory) B of local memory, and the tiled strategies of linear (16640 B) and "
            + "attention (9480 B at heads of 64, 17672 B at 128) do not all fit",
          "Nothing to mend: slower strategies take their place. flashcl check shows which.",
          "flashcl check --coverage")
      }
    }
  }

  private var pretenceFindings: [Finding] {
    guard let pretence else { return [] }
    return [
      Finding(
        "pretending", .note, "FLASHCL_PRETEND=\(pretence) narrows every device to another's limits",
        "Unset it to use devices as they are.", "unset FLASHCL_PRETEND")
    ]
  }
}
