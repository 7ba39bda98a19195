import ArgumentParser
import FlashCLOpenCL

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

struct BenchClaims: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "claims", abstract: "Measures well-known claims about transformers on a device.",
    discussion: """
      For each claim: what is said, what this device shows, and whether it holds. With --output, a plot of each and all \
      figures as JSON. Times are this device's alone, at sizes that take seconds.
      With --seconds, no further claim is measured when the time is over.
      Example: flashcl bench claims multi_query --output claims
      """)

  @Argument(help: "A claim's name; all without one.")
  var name: String?
  @Flag(help: "Print the claims instead of measuring them.")
  var list = false
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption
  @Option(
    name: .customLong("output"), parsing: .unconditional,
    help: "A folder for a plot of each claim and claims.json; made where it is missing.")
  var folder: String?
  @Option(
    parsing: .unconditional,
    help: "How long it may take, all in all; what was measured by then is reported.",
    transform: Deadline.parse)
  var seconds: Double?

  func validate() throws {
    guard let name, !Claim.all.contains(where: { $0.name == name }) else { return }
    if let other = Claim.unmeasured.first(where: { $0.name == name }) {
      throw ValidationError("\(name) cannot be measured: \(other.reason)")
    }
    let names = Claim.all.map(\.name).joined(separator: ", ")
    throw ValidationError("there is no claim '\(name)'; known: \(names)")
  }

  func run() throws {
    let claims = Claim.all.filter { name == nil || $0.name == name }
    if list { return try show(claims) }
    let deadline = Deadline(seconds)
    guard let backend = try device.backend(profiling: true) as? OpenCLBackend else {
      throw Failure("claims are measured on an OpenCL device; the reference computes one number at a time")
    }
    if let folder { try makeFolder(folder) }
    if !output.isJSON { try Output.line(backend.deviceName) }
    let bench = ClaimBench(backend)
    let clock = ContinuousClock()
    var entries: [ClaimsReport.Entry] = []
    for claim in claims {
      if deadline.isOver { break }
      Terminal.progress("claim \(claim.name)")
      let start = clock.now
      let finding: Finding
      do { finding = try claim.measure(bench) } catch { throw Failure("claim \(claim.name): \(error)") }
      let seconds = clock.now.seconds(since: start)
      Terminal.progress("")
      entries.append(
        .init(claim: claim.name, statement: claim.statement, seconds: seconds, finding: finding))
      if let folder { try Picture.write(finding.plot.svg, to: "\(folder)/\(claim.name).svg") }
      if !output.isJSON {
        try Output.line(
          "\n\(claim.name): \(finding.verdict.text) (\(fixed(seconds, 1)) s)\n  said: \(claim.statement)\n"
            + "  here: \(finding.words)")
      }
    }
    let stop = Stop(deadline, ran: entries.count, of: claims.count)
    let report = ClaimsReport(
      device: backend.deviceName, stopped_after_s: stop?.seconds, not_run: stop?.notRun ?? 0,
      claims: entries, not_measured: unmeasured)
    if let folder { try Output.json(report, toFile: "\(folder)/claims.json") }
    if output.isJSON { return try Output.json(report) }
    func number(_ verdict: Finding.Verdict) -> Int { entries.count { $0.finding.verdict == verdict } }
    if name == nil {
      try Output.line(
        "\nof \(entries.count) claims \(number(.holds)) hold, \(number(.partly)) in part, \(number(.fails)) do not"
      )
    }
    if let stop { try Output.line(stop.text("claim")) }
    for claim in unmeasured { try Output.line("not measured: \(claim.claim): \(claim.reason)") }
  }

  private var unmeasured: [ClaimsReport.Unmeasured] {
    name != nil ? [] : Claim.unmeasured.map { .init(claim: $0.name, reason: $0.reason) }
  }

  private func show(_ claims: [Claim]) throws {
    if output.isJSON {
      return try Output.json(claims.map { ["claim": $0.name, "statement": $0.statement] })
    }
    try Output.write(table(claims.map { [$0.name, $0.statement] }))
    for claim in unmeasured { try Output.line("not measured: \(claim.claim): \(claim.reason)") }
  }

  private func makeFolder(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw Failure("\(path): cannot be made a folder: \(error)")
    }
    try Picture.requireWritable("\(path)/claims.json")
  }
}

private struct ClaimsReport: Encodable {
  let device: String
  /// The time that was given, where claims were not measured for it, and how many were not.
  @Nullable var stopped_after_s: Double?
  let not_run: Int
  let claims: [Entry]
  let not_measured: [Unmeasured]

  struct Unmeasured: Encodable {
    let claim: String
    let reason: String
  }

  struct Entry: Encodable {
    let claim: String
    let statement: String
    let seconds: Double
    let finding: Finding
  }
}
