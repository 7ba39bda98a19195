import ArgumentParser
import FlashCLRuntime

/// `devices --doctor`: what keeps OpenCL from working on this machine, and the command that mends it.
struct Doctor: Encodable {
  /// Devices that can be used, by name.
  let devices: [String]
  let distribution: String
  let findings: [Entry]

  struct Entry: Encodable {
    let id: String
    let severity: String
    let problem: String
    let remedy: String
    let commands: [String]
  }

  init(_ system: SystemSnapshot) {
    devices = system.usable.map { "\($0.name) (\($0.kind))" }
    distribution = system.distribution.name
    findings = system.findings.map {
      Entry(
        id: $0.id, severity: $0.severity.rawValue, problem: $0.problem, remedy: $0.remedy,
        commands: $0.commands)
    }
  }

  /// Prints the diagnosis of this machine; exit status 1 where no device can be used.
  static func run(json: Bool) throws {
    let doctor = Doctor(.current())
    if json { try Output.json(doctor) } else { try Output.write(doctor.text) }
    if doctor.devices.isEmpty { throw ExitCode(1) }
  }

  var text: String {
    let found = findings.map { finding in
      let lines = ["\(finding.severity): \(finding.problem)", "  \(finding.remedy)"]
      return (lines + finding.commands.map { "    \($0)" }).joined(separator: "\n") + "\n\n"
    }
    let summary =
      devices.isEmpty
      ? "no usable OpenCL device on \(distribution)"
      : "\(count(devices.count, "usable device")) on \(distribution): \(devices.joined(separator: ", "))"
    return found.joined() + summary + "\n"
  }
}
