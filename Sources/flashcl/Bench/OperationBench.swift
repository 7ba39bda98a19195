import FlashCL
import FlashCLCases
import FlashCLOpenCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Times the strategies of operations on one backend, each after its check.
struct OperationBench {
  let backend: any Backend
  var chosenOnly = false
  /// Seconds that one run of a strategy may take that is not the chosen one.
  var patience = 3.0
  /// Seconds of measuring for each strategy.
  var duration = 0.3
  /// What it leaves no time for is not timed.
  var deadline = Deadline(nil)
  /// Takes the report as it would be if nothing more came, after every timing of a run with a deadline: nobody can stop a
  /// driver that hangs.
  var keep: (BenchReport) throws -> Void = { _ in }
  var isQuiet = false
  var measuresCeilings = true

  /// The table's cases that `operation` means, or those of a sweep.
  func run(_ operation: String?, _ sweep: Sweep? = nil) throws -> BenchReport {
    let points = try operation.flatMap { name in try sweep?.cases(name) }
    for point in points ?? [] { try requireFit(point) }
    let runner = Runner(backend, purpose: .bench, cases: points?.map(\.item))
    var selected = try runner.select(points == nil ? operation.map(runner.pattern) : nil)
    // A sweep's own order is the better one for a part of it: sizes that double come before those of other keys.
    if points == nil && deadline.seconds != nil { selected = selected.inTurns() }
    let ceilings = try measuresCeilings ? (backend as? OpenCLBackend)?.measureCeilings() : nil
    if !isQuiet {
      try Output.line(backend.deviceName)
      if let ceilings { try Output.line(BenchReport.text(ceilings)) }
      try Output.write(BenchReport.header)
    }
    var (results, failures): ([BenchReport.Entry], [CaseResult]) = ([], [])
    var (skipped, rates): ([BenchReport.Skipped], [String: Double]) = ([], [:])
    let total = selected.reduce(0) { $0 + (chosenOnly ? 1 : $1.strategies.count) }
    var ran = 0
    func report() -> BenchReport {
      BenchReport(
        device: backend.deviceName, ceilings: ceilings.map(BenchReport.Ceiling.init), sweep: sweep?.text,
        stop: Stop(deadline, ran: ran, of: total), results: results.grouped(by: \.operation),
        skipped: skipped, failures: failures)
    }
    for (index, (item, strategies)) in selected.enumerated() {
      var isChosen = true  // the first that can run: strategies stand in order of preference
      var work = 0.0  // of this case, as the chosen strategy's timing tells
      for (place, strategy) in strategies.enumerated() where isChosen || !chosenOnly {
        if try deadline.isOver(needed: needed(item, rates["\(item.operation) \(strategy)"])) {
          if chosenOnly && place > 0 { ran -= 1 }
          break
        }
        if !chosenOnly || place == 0 { ran += 1 }
        Terminal.progress("\(index + 1) of \(selected.count)  \(item.name(strategy: strategy))")
        // A slow strategy is known by its rate at the last size.
        let key = "\(item.operation) \(strategy)"
        if !isChosen, let rate = rates[key], work / rate > patience {
          skipped.append(BenchReport.Skipped(case: item.name(strategy: strategy), expected_s: work / rate))
          continue
        }
        let (result, timing) = try runner.time(item, strategy: strategy, duration: duration)
        if result.outcome == .failed { failures.append(result) }
        if result.outcome == .unsupported { continue }
        defer { isChosen = false }
        guard let timing else { continue }
        let rate = 1e9 * max(timing.gflops, timing.gbytesPerSecond)
        if isChosen { work = rate * timing.seconds }
        rates[key] = rate
        let entry = BenchReport.Entry(
          timing, chosen: isChosen, ceilings, parameters: item.name(), swept: points?[index].values)
        results.append(entry)
        Terminal.progress("")
        if !isQuiet { try Output.line(entry.text) }
        if deadline.seconds != nil { try keep(report()) }
      }
    }
    Terminal.progress("")
    let report = report()
    if let stop = report.stop, !isQuiet { try Output.line(stop.text("timing")) }
    if let first = skipped.first {
      Terminal.say(
        "flashcl: \(count(skipped.count, "slow strategy run")) left out, the first of about "
          + "\(short(first.expected_s)) s: \(first.case); --patience \(fixed(patience, 0)) is the limit")
    }
    return report
  }

  /// Seconds that a strategy of this rate needs at least, for its check and once for its timing: no more is known before.
  private func needed(_ item: Case, _ rate: Double?) throws -> Double {
    guard let rate else { return 0 }
    let cost = try Runner(backend, cases: [item]).reports(item).cost
    return 2 * max(cost.flops, cost.bytes) / rate
  }

  /// Refuses what does not fit the device's memory, or the host's, where truth and results are compared.
  private func requireFit(_ point: SweepPoint) throws {
    // The check keeps operands and results as Double beside their bytes, and their places: about 10 bytes for one.
    let host = 10 * point.bytes
    let physical = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
    let name = point.item.name()
    guard physical <= 0 || host <= physical else {
      throw Failure(
        "\(name) needs about \(size(host)) of this machine's memory for its check, which has \(size(physical))"
      )
    }
    guard let device = (backend as? OpenCLBackend)?.queue.device else { return }
    guard point.bytes <= device.globalMemory else {
      throw Failure(
        "\(name) needs \(size(point.bytes)) on the device, which has \(size(device.globalMemory))")
    }
    guard point.largest <= device.maxAllocation else {
      throw Failure(
        "\(name) has a tensor of \(size(point.largest)); the device allows \(size(device.maxAllocation)) in one buffer"
      )
    }
  }
}
