import FlashCL

/// How long one case takes under one strategy.
public struct Timing: Codable, Sendable {
  public let `case`: String
  public let operation: String
  public let strategy: String
  public let type: ElementType
  /// Median of the wall seconds of a call, the queue drained once per batch.
  public let seconds: Double
  /// (p90 − p10) / median over the batches.
  public let spread: Double
  public let runs: Int
  /// Seconds of a call by the device's own clock, where it has one.
  public let deviceSeconds: Double?
  public let gflops: Double
  public let gbytesPerSecond: Double

  private enum CodingKeys: String, CodingKey {
    case `case`, operation, strategy, type, seconds, spread, runs, gflops
    case deviceSeconds = "device_seconds"
    case gbytesPerSecond = "gbytes_per_s"
  }
}

extension Runner {
  /// Times a case under one strategy that has just been checked: nothing is timed before it is right.
  ///
  /// Runs ten batches or more, for `duration` seconds or more; three of them where ten would take ten times as long, and one
  /// where a single call takes longer than the duration. A batch is as many calls as fill a tenth of the duration, or one:
  /// launching then overlaps computing, as it does in a model.
  public func time(_ item: Case, strategy: String, duration: Double = 0.3) throws -> (CaseResult, Timing?) {
    let result = check(item, strategy: strategy)
    guard result.outcome == .passed else { return (result, nil) }
    let operation = try item.build(Workbench(backend, seed: item.seed)).operation
    func batch(_ calls: Int) throws -> Double {
      try seconds {
        for _ in 0..<calls { try backend.run(operation, strategy: strategy) }
        try backend.synchronise()
      }
    }
    // Compiles, unless the check has; where a call takes long, that is the measurement.
    let warm = try batch(1)
    let first = warm > 10 * duration ? warm : try batch(1)
    let calls = max(1, min(1000, Int(duration / 10 / max(first, 1e-7))))
    var times = first > duration ? [first] : []
    var total = 0.0
    while first <= duration
      && (times.count < 3 || total < duration || times.count < 10 && total < 10 * duration)
    {
      let seconds = try batch(calls)
      times.append(seconds / Double(calls))
      total += seconds
    }
    times.sort()
    let median = times[times.count / 2]
    let deviceCalls = min(calls, 10)
    let device =
      try first > duration
      ? nil
      : (backend as? any DeviceTimed)?.deviceSeconds {
        for _ in 0..<deviceCalls { try backend.run(operation, strategy: strategy) }
      }
    let cost = operation.cost
    let timing = Timing(
      case: result.case, operation: item.operation, strategy: strategy, type: item.type, seconds: median,
      spread: (times[times.count * 9 / 10] - times[times.count / 10]) / median, runs: times.count * calls,
      deviceSeconds: device.map { $0 / Double(deviceCalls) }, gflops: cost.flops / median * 1e-9,
      gbytesPerSecond: cost.bytes / median * 1e-9)
    return (result, timing)
  }

  private func seconds(_ body: () throws -> Void) rethrows -> Double {
    let (seconds, attoseconds) = try ContinuousClock().measure(body).components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
