import ArgumentParser
import FlashCLRuntime

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The command. Every outcome is an exit status (0 done, 1 failed, 2 bad usage) and, unless it is 0, one line on standard
/// error.
@main
struct Command: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flashcl", abstract: "Runs transformers on any OpenCL device.",
    discussion: """
      Standard output carries the result alone; errors, and progress where standard error is a terminal, go to standard \
      error. FLASHCL_DEVICE sets the device where --device does not.
      """,
    version: "0.1.0",
    subcommands: [
      Generate.self, Chat.self, Translate.self, Embed.self, Search.self, FillMask.self, Classify.self,
      Tag.self,
      Answer.self,
      Logits.self, AttentionCommand.self, Tokenize.self,
      Detokenize.self,
      Inspect.self, Convert.self, PerplexityCommand.self,
      Devices.self, Check.self, Bench.self, Tune.self,
      Capsule.self, Replay.self,
      // Not in the help: what this program starts itself with.
      ProbeInChild.self, CheckInChild.self, CapsuleInChild.self, BuildInChild.self,
    ])

  static func main() {
    // Writing to a closed pipe is then an error like another, and half-written files are removed on the way out.
    signal(SIGPIPE, SIG_IGN)
    // Who ends a long first build has seen no crash.
    Sentinel.removeOnSignals()
    do {
      do {
        try requireText()
        var command = try parseAsRoot()
        try command.run()
      } catch  where exitCode(for: error) == .success {
        try Output.write(message(for: error) + "\n")  // help or version
      }
    } catch {
      leave(error)
    }
  }

  /// Swift would put U+FFFD where an argument is no text.
  private static func requireText() throws {
    for place in 1..<max(1, Int(CommandLine.argc)) {
      guard let argument = CommandLine.unsafeArgv[place] else { continue }
      if String(validatingCString: argument) == nil {
        throw ValidationError("argument \(place) is not valid UTF-8")
      }
    }
  }

  /// Says what went wrong, in one line, and ends the process.
  private static func leave(_ error: any Error) -> Never {
    if error is ClosedPipe { exit(withStatus: 0) }
    let code = exitCode(for: error)
    if error is ExitCode { exit(withStatus: code.rawValue) }
    guard code == .validationFailure else {
      Terminal.say("flashcl: " + oneLine("\(error)"))
      exit(withStatus: 1)
    }
    var text = oneLine(message(for: error))
    if text.hasSuffix(".") { text.removeLast() }
    if text.dropFirst().first?.isLowercase == true { text = text.prefix(1).lowercased() + text.dropFirst() }
    Terminal.say("flashcl: \(text); see '\(path(CommandLine.arguments.dropFirst())) --help'")
    exit(withStatus: 2)
  }

  private static func exit(withStatus status: Int32) -> Never {
    #if canImport(Glibc)
      Glibc.exit(status)
    #elseif canImport(Musl)
      Musl.exit(status)
    #else
      Darwin.exit(status)
    #endif
  }

  /// The command and subcommands that the arguments begin with.
  private static func path(_ arguments: some Collection<String>) -> String {
    var (command, path): (any ParsableCommand.Type, String) = (Command.self, "flashcl")
    for argument in arguments {
      let known = command.configuration.subcommands.first { $0.configuration.commandName == argument }
      guard let known else { break }
      (command, path) = (known, "\(path) \(argument)")
    }
    return path
  }

  private static func oneLine(_ text: String) -> String {
    text.split { $0.isNewline || $0 == " " }.joined(separator: " ")
  }
}

/// What the command itself has to refuse, in one line.
struct Failure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
