/// A Linux distribution, as far as the names of its packages go.
public struct Distribution: Sendable, Equatable {
  public enum Family: Sendable { case debian, ubuntu, fedora, arch, suse, alpine, other }
  public let family: Family
  /// As it calls itself, for people.
  public let name: String

  /// Reads the text of /etc/os-release: `ID`, else `ID_LIKE`.
  public init(release: String) {
    var fields: [Substring: Substring] = [:]
    for line in release.split(whereSeparator: \.isNewline) {
      let pair = line.split(separator: "=", maxSplits: 1)
      if pair.count == 2 { fields[pair[0]] = pair[1].trimming("\"'") }
    }
    name = fields["PRETTY_NAME"].map(String.init) ?? "an unknown system"
    let words = [fields["ID"], fields["ID_LIKE"]].compactMap { $0 }.flatMap { $0.split(separator: " ") }
    let families: [Substring: Family] = [
      "debian": .debian, "ubuntu": .ubuntu, "fedora": .fedora, "rhel": .fedora, "arch": .arch,
      "suse": .suse, "opensuse": .suse, "opensuse-leap": .suse, "opensuse-tumbleweed": .suse,
      "alpine": .alpine,
    ]
    family = words.lazy.compactMap { families[$0] }.first ?? .other
  }

  /// The command that installs a component; nil where its name here is not known.
  func install(_ component: Component) -> String? {
    guard let package = component.packages[family] else { return nil }
    // Ubuntu's own tool finds the driver that fits the card.
    if component == .nvidia && family == .ubuntu { return "sudo \(package)" }
    let tool: [Family: String] = [
      .debian: "apt-get install", .ubuntu: "apt-get install", .fedora: "dnf install", .arch: "pacman -S",
      .suse: "zypper install", .alpine: "apk add",
    ]
    return tool[family].map { "sudo \($0) \(package)" }
  }
}

extension Substring {
  fileprivate func trimming(_ characters: String) -> Substring {
    var text = self
    while let first = text.first, characters.contains(first) { text.removeFirst() }
    while let last = text.last, characters.contains(last) { text.removeLast() }
    return text
  }
}

/// What can be missing: OpenCL's loader, and the drivers.
enum Component: Sendable {
  case loader, pocl, intel, amd, nvidia

  var packages: [Distribution.Family: String] {
    switch self {
    case .loader:
      // Fedora changed the package: by what it provides, dnf finds the one of this release.
      [
        .debian: "ocl-icd-libopencl1", .ubuntu: "ocl-icd-libopencl1", .fedora: "'libOpenCL.so.1()(64bit)'",
        .arch: "ocl-icd", .suse: "libOpenCL1", .alpine: "opencl-icd-loader",
      ]
    case .pocl:
      // Alpine has no PoCL; Mesa's llvmpipe runs on the processor too.
      [
        .debian: "pocl-opencl-icd", .ubuntu: "pocl-opencl-icd", .fedora: "pocl", .arch: "pocl", .suse: "pocl",
        .alpine: "mesa-rusticl && export RUSTICL_ENABLE=llvmpipe",
      ]
    case .intel:
      [
        .debian: "intel-opencl-icd", .ubuntu: "intel-opencl-icd", .fedora: "intel-opencl",
        .arch: "intel-compute-runtime", .suse: "intel-opencl",
        .alpine: "mesa-rusticl && export RUSTICL_ENABLE=iris",
      ]
    case .amd:
      [
        .debian: "mesa-opencl-icd && export RUSTICL_ENABLE=radeonsi",
        .ubuntu: "mesa-opencl-icd && export RUSTICL_ENABLE=radeonsi",
        .fedora: "rocm-opencl", .arch: "rocm-opencl-runtime",
        .suse: "Mesa-libRusticlOpenCL && export RUSTICL_ENABLE=radeonsi",
        .alpine: "mesa-rusticl && export RUSTICL_ENABLE=radeonsi",
      ]
    case .nvidia:
      [
        .debian: "nvidia-opencl-icd", .ubuntu: "ubuntu-drivers install",
        .fedora: "xorg-x11-drv-nvidia-cuda", .arch: "opencl-nvidia", .suse: "nvidia-compute-G06",
      ]
    }
  }
}

/// A driver that may lie on a disk without being registered.
struct Driver: Sendable {
  let name: String
  /// Of its library's file name, for a shell.
  let pattern: String
  /// What its library's name begins with, in a registration.
  let stem: String
  /// What its platform's name contains, in lower case.
  let platform: String

  static let all = [
    Driver(name: "NVIDIA's", pattern: "libnvidia-opencl.so*", stem: "libnvidia-opencl", platform: "nvidia"),
    Driver(name: "Intel's GPU", pattern: "libigdrcl.so*", stem: "libigdrcl", platform: "opencl graphics"),
    Driver(name: "AMD's", pattern: "libamdocl64.so*", stem: "libamdocl", platform: "amd accelerated"),
    Driver(
      name: "Mesa's rusticl", pattern: "libRusticlOpenCL.so*", stem: "libRusticlOpenCL", platform: "rusticl"),
    Driver(name: "PoCL's", pattern: "libpocl.so*", stem: "libpocl", platform: "portable computing"),
  ]
}
