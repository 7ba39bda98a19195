import ArgumentParser
import FlashCLCases

/// What a sweep measured as lines: the first key with several numbers is the x axis, every other combination of values a
/// panel, every strategy a line.
struct BenchPlot {
  let report: BenchReport
  let operation: String
  let sweep: Sweep

  /// The key on the x axis.
  private static func axis(_ sweep: Sweep) -> Sweep.Axis? {
    sweep.axes.first { axis in axis.values.count > 1 && axis.values.allSatisfy { (Int($0) ?? 0) > 0 } }
  }

  /// Throws where a sweep has no numbers for an x axis, or more panels than can be read.
  static func requireAxis(_ sweep: Sweep) throws {
    guard let axis = axis(sweep) else {
      throw ValidationError("--plot needs a key with two or more numbers above 0, such as N=128:4096:x2")
    }
    let panels = sweep.axes.reduce(1) { $0 * ($1.key == axis.key ? 1 : $1.values.count) }
    guard panels <= Plot.panelLimit else {
      throw ValidationError(
        "--plot would have \(panels) panels beside the axis \(axis.key); the limit is \(Plot.panelLimit)")
    }
  }

  var plot: Plot {
    let key = Self.axis(sweep)?.key ?? ""
    let others = sweep.axes.filter { $0.key != key }
    let varied = others.filter { $0.values.count > 1 }
    let combinations = others.reduce([[:]]) { points, axis in
      points.flatMap { point in axis.values.map { point.merging([axis.key: $0]) { $1 } } }
    }
    let entries = report.results
    // Arithmetic is the limit where most results are nearer to that ceiling.
    let ceilings = report.ceilings
    let arithmetic = entries.count {
      $0.gflops / (ceilings?.gflops ?? 100) >= $0.gbytes_per_s / (ceilings?.copy_gbytes_per_s ?? 10)
    }
    let inFLOPs = 2 * arithmetic >= entries.count
    let guides = ceilings.map { Self.guides($0, inFLOPs: inFLOPs) } ?? []
    let strategies = entries.reduce(into: [String]()) {
      if !$0.contains($1.strategy) { $0.append($1.strategy) }
    }
    let panels = combinations.compactMap { combination -> Plot.Panel? in
      let own = entries.filter { entry in combination.allSatisfy { entry.swept[$0.key] == $0.value } }
      guard !own.isEmpty else { return nil }
      return Plot.Panel(
        title: varied.map { "\($0.key) \(combination[$0.key] ?? "")" }.joined(separator: ", "),
        series: strategies.compactMap { strategy in
          let points = own.filter { $0.strategy == strategy }.map { entry in
            Plot.Point(
              x: Double(entry.swept[key] ?? "") ?? 0, y: inFLOPs ? entry.gflops : entry.gbytes_per_s,
              spread: entry.spread, isMarked: entry.chosen)
          }
          return points.isEmpty ? nil : Plot.Series(name: strategy, points: points)
        }, guides: guides)
    }
    let fixedValues = others.filter { $0.values.count == 1 }.map { "\($0.key) \($0.values[0])" }
    return Plot(
      title: ([operation] + fixedValues).joined(separator: ", "), subtitle: report.device, x: key,
      y: inFLOPs ? "GFLOP/s" : "GB/s", panels: panels,
      notes: [
        "Full marks: the strategy that a model would run. Bars: 10th to 90th percentile. Dashed: measured ceilings."
      ] + Stop.notes(report.stop, "timing"))
  }

  private static func guides(_ ceilings: BenchReport.Ceiling, inFLOPs: Bool) -> [Plot.Guide] {
    guard inFLOPs else {
      let copy = ceilings.copy_gbytes_per_s
      return [Plot.Guide(name: "copy \(fixed(copy, 0)) GB/s", y0: copy)]
    }
    let product = ceilings.matrix_gflops.map {
      Plot.Guide(name: "matrix product \(fixed($0, 0)) GFLOP/s", y0: $0)
    }
    return [Plot.Guide(name: "multiply-add \(fixed(ceilings.gflops, 0)) GFLOP/s", y0: ceilings.gflops)]
      + (product.map { [$0] } ?? [])
  }

  // MARK: - Roofline

  /// Every result by its operations a byte, under what memory and arithmetic allow.
  static func roofline(_ report: BenchReport) -> Plot {
    var names: [String] = []
    let isOne = Set(report.results.map(\.operation)).count == 1
    func name(_ entry: BenchReport.Entry) -> String { isOne ? entry.strategy : entry.operation }
    for entry in report.results where !names.contains(name(entry)) { names.append(name(entry)) }
    let series = names.map { wanted in
      let points = report.results.filter { name($0) == wanted && $0.gbytes_per_s > 0 }.map {
        Plot.Point(x: $0.gflops / $0.gbytes_per_s, y: $0.gflops, spread: $0.spread, isMarked: $0.chosen)
      }
      return Plot.Series(name: wanted, points: points, isScattered: true)
    }
    var guides: [Plot.Guide] = []
    if let ceilings = report.ceilings {
      let (copy, top) = (ceilings.copy_gbytes_per_s, ceilings.gflops)
      guides =
        Self.guides(ceilings, inFLOPs: true)
        + [Plot.Guide(name: "copy \(fixed(copy, 0)) GB/s", y0: copy, exponent: 1, end: top)]
    }
    return Plot(
      title: "Roofline" + (isOne ? " of \(report.results.first?.operation ?? "")" : ""),
      subtitle: report.device, x: "operations per byte (FLOP / B)", y: "GFLOP/s",
      panels: [Plot.Panel(series: series, guides: guides)],
      notes: [
        "Full marks: the strategy that a model would run. Dashed: measured ceilings; caches may pass the copy."
      ] + Stop.notes(report.stop, "timing"))
  }
}
