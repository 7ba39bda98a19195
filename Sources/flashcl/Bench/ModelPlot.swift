import FlashCL

/// What `bench --model` measured as lines: tokens per second over what there are several of.
struct ModelPlot {
  let report: ModelBench

  /// The model's size where there are several, else the prompt's length, else the sequences side by side where those alone vary.
  private enum Axis { case size, length, batch }

  private var axis: Axis {
    func count<T: Hashable>(_ part: (ModelBench.Entry) -> T) -> Int { Set(report.results.map(part)).count }
    if count({ $0.model }) > 1 { return .size }
    return count { $0.prompt_tokens } == 1 && count { $0.batch } > 1 ? .batch : .length
  }

  /// A line for prefill and one for decode of each kind of row.
  var plot: Plot {
    let axis = axis
    let lengths = Set(report.results.map(\.prompt_tokens))
    var series: [Plot.Series] = []
    func add(_ name: String, _ point: Plot.Point) {
      if let place = series.firstIndex(where: { $0.name == name }) {
        series[place].points.append(point)
      } else {
        series.append(Plot.Series(name: name, points: [point]))
      }
    }
    for entry in report.results {
      let kind =
        (axis == .size && lengths.count > 1 ? ", prompt \(entry.prompts)" : "")
        + (axis != .batch && entry.batch > 1 ? ", batch \(entry.batch)" : "")
        + (entry.cache_type.map { $0 == "f32" ? "" : ", cache \($0)" } ?? "")
      let x: Double =
        switch axis {
        case .size: Double(entry.weight_bytes ?? 0) / 1e6
        case .length: Double(entry.prompt_tokens)
        case .batch: Double(entry.batch)
        }
      if let rate = entry.prefill_tokens_per_s {
        add("prefill\(kind)", .init(x: x, y: rate, spread: entry.prefill_spread ?? 0))
      }
      if let rate = entry.decode_tokens_per_s {
        add("decode\(kind)", .init(x: x, y: rate, spread: entry.decode_spread ?? 0))
      }
      if let beam = entry.beam, let step = entry.beam_step_s {
        let rate = Double(entry.batch) / step
        add("decode\(kind), \(beam) beams", .init(x: x, y: rate, spread: entry.beam_spread ?? 0))
      }
    }
    let prompt = lengths.count == 1 ? " of \(report.results[0].prompts) tokens" : ""
    let title = "prefill\(axis == .length ? "" : prompt), and decode after it"
    return Plot(
      title: axis == .size ? title : "\(names): \(title)", subtitle: report.device,
      x: label(axis), y: "tokens/s",
      panels: [Plot.Panel(series: series)],
      notes: (axis == .size ? ["Models: \(names)."] : [])
        + ["Bars: the spread of several runs, or of single tokens."] + report.stopNotes)
  }

  private var names: String {
    report.model.split(separator: ",").map { $0.split(separator: "/").last.map(String.init) ?? "" }
      .joined(separator: ", ")
  }

  private func label(_ axis: Axis) -> String {
    switch axis {
    case .size: "weights of the model, MB"
    case .length: "tokens of each prompt"
    case .batch: "sequences side by side, tokens of all counted"
    }
  }
}
