import ArgumentParser

struct BenchClaims: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "claims", abstract: "Stub.")
  func run() throws {}
}
