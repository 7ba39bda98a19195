import Testing

@testable import FlashCLRuntime

/// Machines made up for their faults, and what is found on them.
@Suite struct DoctorTests {
  private static let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n"
  private static let pocl = SystemSnapshot.Platform(
    name: "Portable Computing Language", devices: [.init(name: "pthread", localMemory: 1 << 20)])

  /// A machine where all is well, and PoCL is the device.
  private static func machine(
    _ release: String = debian, _ change: (inout SystemSnapshot) -> Void = { _ in }
  )
    -> SystemSnapshot
  {
    var system = SystemSnapshot()
    system.distribution = Distribution(release: release)
    system.platforms = [pocl]
    system.registrations = [.init(path: "/etc/OpenCL/vendors/pocl.icd", library: "libpocl.so.2")]
    system.driverLibraries = ["/usr/lib/x86_64-linux-gnu/libpocl.so.2"]
    (system.user, system.groups, system.futureGroups) = ("ada", ["ada"], ["ada"])
    change(&system)
    return system
  }

  /// The only finding of a machine.
  private func only(_ system: SystemSnapshot) throws -> Finding {
    try #require(system.findings.count == 1, "\(system.findings)")
    return system.findings[0]
  }

  @Test func aSoundMachineHasNoFinding() { #expect(Self.machine().findings.isEmpty) }

  @Test(arguments: [
    ("ID=debian", "sudo apt-get install ocl-icd-libopencl1"),
    ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"", "sudo apt-get install ocl-icd-libopencl1"),
    ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"", "sudo dnf install 'libOpenCL.so.1()(64bit)'"),
    ("ID=manjaro\nID_LIKE=arch", "sudo pacman -S ocl-icd"),
    ("ID=\"opensuse-tumbleweed\"", "sudo zypper install libOpenCL1"),
    ("ID=alpine", "sudo apk add opencl-icd-loader"), ("ID=plan9", nil), ("", nil),
  ]) func noLibrary(release: String, command: String?) throws {
    let finding = try only(
      Self.machine(release) {
        ($0.platforms, $0.registrations, $0.driverLibraries) = ([], [], [])
        $0.libraryError = "libOpenCL.so.1: cannot open shared object file"
      })
    #expect(finding.id == "no-library" && finding.severity == .error)
    #expect(finding.commands == [command].compactMap { $0 })
  }

  @Test func noPlatform() throws {
    let finding = try only(
      Self.machine { ($0.platforms, $0.registrations, $0.driverLibraries) = ([], [], []) })
    #expect(finding.id == "no-platform" && finding.commands == ["sudo apt-get install pocl-opencl-icd"])
    #expect(finding.problem.contains("/etc/OpenCL/vendors"))
  }

  @Test(arguments: [([], "llvmpipe"), ([0x1002], "radeonsi"), ([0x8086], "iris")] as [(Set<UInt32>, String)])
  func rusticlWithoutItsVariable(vendors: Set<UInt32>, driver: String) throws {
    let finding = try only(
      Self.machine {
        $0.platforms = [.init(name: "rusticl")]
        $0.registrations = [.init(path: "/etc/OpenCL/vendors/rusticl.icd", library: "libRusticlOpenCL.so.1")]
        $0.driverLibraries = ["/usr/lib64/libRusticlOpenCL.so.1"]
        $0.gpuVendors = vendors
      })
    #expect(finding.id == "rusticl-without-devices" && finding.severity == .error)
    #expect(finding.commands == ["export RUSTICL_ENABLE=\(driver)"])
  }

  @Test func noPermission() throws {
    let closed = SystemSnapshot.Node(path: "/dev/dri/renderD128", group: "render", mayOpen: false)
    let finding = try only(Self.machine { $0.nodes = [closed] })
    #expect(finding.id == "no-permission" && finding.severity == .warning)
    #expect(finding.commands == ["sudo usermod -aG render ada"])
    #expect(finding.problem.contains("/dev/dri/renderD128"))
    let alpine = try only(Self.machine("ID=alpine") { $0.nodes = [closed] })
    #expect(alpine.commands == ["sudo addgroup ada render"])
    // Joined since, and not logged in again.
    let joined = try only(
      Self.machine {
        $0.nodes = [closed]
        $0.futureGroups = ["ada", "render"]
      })
    #expect(joined.commands == ["newgrp render"] && joined.remedy.contains("log in again"))
    // A container, where the group has no name.
    let container = try only(
      Self.machine { $0.nodes = [.init(path: "/dev/kfd", group: "992", mayOpen: false)] })
    #expect(container.commands.isEmpty && container.remedy.contains("--group-add"))
  }

  @Test func nvidiaWithHalfItsDriver() throws {
    let nodes = [SystemSnapshot.Node(path: "/dev/nvidia0", group: "root")]
    let library = try only(
      Self.machine {
        $0.nodes = nodes
        $0.gpuVendors = [0x10de]
      })
    #expect(library.id == "nvidia-without-library")
    #expect(library.commands == ["sudo apt-get install nvidia-opencl-icd"])
    let ubuntu = try only(Self.machine("ID=ubuntu\nID_LIKE=debian") { $0.nodes = nodes })
    #expect(ubuntu.commands == ["sudo ubuntu-drivers install"])
    let registration = try only(
      Self.machine {
        $0.nodes = nodes
        $0.gpuVendors = [0x10de]
        $0.driverLibraries.append("/usr/local/nvidia/lib64/libnvidia-opencl.so.1")
      })
    #expect(registration.id == "driver-without-icd")
    #expect(
      registration.commands[0].contains(
        "echo /usr/local/nvidia/lib64/libnvidia-opencl.so.1 | sudo tee /etc/OpenCL/vendors/nvidia-opencl.icd")
    )
    // In a folder that a variable chose, nothing is to be written.
    let hidden = try only(
      Self.machine {
        $0.nodes = nodes
        $0.driverLibraries.append("/usr/lib64/libnvidia-opencl.so.1")
        ($0.vendorFolder, $0.vendorFolderIsChosen) = ("/opt/icd", true)
      })
    #expect(hidden.id == "hidden-driver" && hidden.severity == .note)
  }

  @Test func aGPUWithoutADriver() throws {
    let finding = try only(Self.machine("ID=fedora") { $0.gpuVendors = [0x8086] })
    #expect(finding.id == "gpu-without-driver" && finding.severity == .warning)
    #expect(finding.commands == ["sudo dnf install intel-opencl"])
    let served = SystemSnapshot.DeviceFacts(name: "Iris Xe", kind: .integratedGPU, vendorID: 0x8086)
    let system = Self.machine {
      $0.gpuVendors = [0x8086]
      $0.platforms.append(.init(name: "Intel(R) OpenCL Graphics", devices: [served]))
    }
    #expect(system.findings.isEmpty)
  }

  @Test func aBrokenRegistration() throws {
    let finding = try only(
      Self.machine {
        $0.registrations.append(
          .init(path: "/etc/OpenCL/vendors/old.icd", library: "/opt/old/libold.so", isThere: false))
      })
    #expect(finding.id == "broken-registration" && finding.problem.contains("/opt/old/libold.so"))
  }

  @Test func devicesThatFallShort() throws {
    let small = try only(Self.machine { $0.platforms[0].devices[0].localMemory = 16383 })
    #expect(small.id == "little-local-memory" && small.problem.contains("16383"))
    #expect(Self.machine { $0.platforms[0].devices[0].localMemory = 16384 }.findings.isEmpty)
    let old = Self.machine { $0.platforms[0].devices[0].unusable = "it speaks OpenCL 1.1" }
    #expect(old.usable.isEmpty)
    #expect(try only(old).id == "unusable-device" && only(old).severity == .error)
  }

  @Test func pretendingIsNoted() throws {
    #expect(try only(Self.machine { $0.pretence = "mali" }).severity == .note)
  }

  /// The gravest comes first.
  @Test func inOrder() {
    let system = Self.machine {
      $0.pretence = "mali"
      $0.platforms[0].devices[0].localMemory = 1024
    }
    #expect(system.findings.map(\.severity) == [.warning, .note])
  }

  @Test func thisMachineIsRead() throws {
    let system = SystemSnapshot.current()
    #expect(system.libraryError == nil && !system.user.isEmpty)
    #expect(system.usable.count == (try Device.all()).count)
  }
}
