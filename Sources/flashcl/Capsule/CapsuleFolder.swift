import ArgumentParser
import FlashCL
import FlashCLCases
import FlashCLRuntime

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The command that writes the capsule of a case that failed.
struct CapsuleCommand {
  /// As it is to be typed.
  let text: String
  /// The same for a child: without a place for the file and a device.
  let arguments: [String]
  /// A name that no other case has, on no other device.
  let file: String
  /// False for what was not tried, and for shapes of real models, whose buffers may be gigabytes.
  let isForFolder: Bool

  init(_ result: CaseResult, environment: String, place: String) {
    arguments = result.capsule
    isForFolder = result.wasTried && !result.isLarge
    let command = (["flashcl"] + arguments.dropLast() + ["'\(result.case)'"]).joined(separator: " ")
    var name = Fingerprint()
    for text in [environment, command, place] { name.combine(text) }
    file =
      "\(result.operation)-\(result.strategy)-\(result.type.rawValue)-\(name.description.prefix(8)).capsule"
    text = "\(environment)\(command) --output \(file)\(place)"
  }
}

/// The folder of `check --capsules`.
///
/// Each capsule is made by a child: what failed here may crash there, and its file is then what was launched until that. A
/// case of which nothing came back is not launched again.
struct CapsuleFolder {
  let path: String
  /// So many faults tell what there is to tell, at some megabytes each.
  private static let limit = 20

  /// Makes the folder; throws where it cannot be written.
  init(_ path: String) throws {
    self.path = path
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw Failure("\(path): cannot be made a folder: \(error)")
    }
    try Output.requireFolder(of: "\(path)/x")
  }

  /// Writes the capsules of the first failures, and says so in the report; `limit` is in seconds, for one. What `deadline`
  /// leaves no time for is not written.
  func fill(_ report: inout CheckReport, limit: Double, _ deadline: Deadline) {
    var rest = Self.limit
    for index in report.results.indices where rest > 0 && !deadline.isOver {
      guard let maker = report.results[index].capsuleMaker, maker.isForFolder, let device = report.rank else {
        continue
      }
      let entry = report.results[index]
      rest -= 1
      Terminal.progress("capsule of \(entry.case)")
      let file = "\(path)/\(maker.file)"
      let arguments =
        [CapsuleInChild.name, "--"] + maker.arguments.dropFirst()
        + ["--output", file, "--device", device, "--outcome", entry.reason ?? ""]
      do {
        if FileManager.default.fileExists(atPath: file) { try FileManager.default.removeItem(atPath: file) }
        let child = try Child(arguments, limit: limit)
        var answer: String?
        while let line = child.next(within: deadline.rest + Deadline.grace) { answer = line }
        let end = child.end()
        guard FileManager.default.fileExists(atPath: file) else {
          throw Failure("no capsule of \(entry.case): \(answer ?? "\(end)")")
        }
        report.results[index].capsule = file
      } catch {
        Terminal.say("flashcl: \(error)")
      }
    }
  }
}

/// The child's side.
struct CapsuleInChild: ParsableCommand {
  static let name = "capsule-in-child"
  static let configuration = CommandConfiguration(commandName: name, shouldDisplay: false)

  @ArgumentParser.Argument(parsing: .captureForPassthrough) var arguments: [String] = []

  func run() throws {
    Child.leaveWithParent()
    Sentinel.switchOff()
    do {
      try Capsule.parse(arguments.filter { $0 != "--" }).run()
    } catch {
      try Output.line("\(error)")
      throw ExitCode(1)
    }
  }
}
