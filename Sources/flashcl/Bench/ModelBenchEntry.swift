import FlashCL

extension ModelBench {
  /// A row of the report.
  struct Entry: Encodable {
    var model = ""
    /// Of the model's weights on the device; nil where it has no memory of its own.
    @Nullable var weight_bytes: Int?
    /// Of each sequence, the longest where they differ; in its cache when decoding begins. Of an encoder–decoder its source's.
    let prompt_tokens: Int
    /// Of the shortest sequence.
    let prompt_tokens_least: Int
    /// Sequences side by side.
    let batch: Int
    @Nullable var cache_type: String?
    /// The median of several runs; nil where decoding alone is timed.
    @Nullable var prefill_s: Double?
    /// Of all sequences together.
    @Nullable var prefill_tokens_per_s: Double?
    /// (slowest − fastest) / median.
    @Nullable var prefill_spread: Double?
    /// Of each sequence.
    private(set) var decode_tokens: Int
    /// Of all sequences together; of an encoder–decoder by greedy search.
    @Nullable var decode_tokens_per_s: Double?
    /// (p90 − p10) / median of single steps.
    @Nullable var decode_spread: Double?
    /// Kernels launched for a token of every sequence; nil where nothing is launched or decoded.
    @Nullable var decode_launches: Double?
    /// What a token of every sequence reads and writes at least, at the median step's rate, in 10⁹ bytes a second.
    @Nullable var decode_gbytes_per_s: Double?
    /// That over the rate of a copy that was measured right after it.
    @Nullable var decode_fraction_of_copy: Double?
    /// Beams of each source; nil where no beams are searched.
    @Nullable var beam: Int?
    /// The median step of greedy search, of all sequences together; nil where it is no encoder–decoder.
    @Nullable var greedy_step_s: Double?
    /// The same of beam search.
    @Nullable var beam_step_s: Double?
    @Nullable var beam_spread: Double?
    /// A step with beams over a greedy one: the median over rounds in which both took turns.
    @Nullable var beam_ratio: Double?

    /// The row of sequences of these lengths. `times` of prefill, the first of which compiled; `decoded` of each step.
    init(
      _ lengths: [Int], batch: Int? = nil, cache: ElementType? = nil, times: [Double], decoded: [Double],
      launches: Double? = nil, bytes: Double? = nil, copy: Double? = nil
    ) {
      let (sorted, steps) = (times.dropFirst().sorted(), decoded.sorted())
      prompt_tokens = lengths.max() ?? 0
      prompt_tokens_least = lengths.min() ?? 0
      self.batch = batch ?? lengths.count
      cache_type = cache?.rawValue
      decode_launches = launches
      if !sorted.isEmpty {
        let median = sorted[sorted.count / 2]
        prefill_s = median
        prefill_tokens_per_s = Double(lengths.reduce(0, +)) / median
        prefill_spread = (sorted[sorted.count - 1] - sorted[0]) / median
      }
      decode_tokens = steps.count
      if !steps.isEmpty {
        decode_tokens_per_s = Double(lengths.count * steps.count) / steps.reduce(0, +)
        decode_spread = Self.spread(steps)
        let rate = bytes.map { $0 / steps[steps.count / 2] }
        decode_gbytes_per_s = rate.map { $0 * 1e-9 }
        if let rate, let copy { decode_fraction_of_copy = rate / copy }
      }
    }

    /// The row of an encoder–decoder: `greedy` and `beams` of each round, step by step, at least one.
    init(
      _ lengths: [Int], times: [Double], greedy: [[Double]], beams: [[Double]], width: Int
    ) {
      self.init(lengths, times: times, decoded: [])
      func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
      let all = greedy.joined().sorted()
      decode_tokens = greedy[0].count
      greedy_step_s = median(all)
      decode_tokens_per_s = Double(lengths.count * all.count) / all.reduce(0, +)
      decode_spread = Self.spread(all)
      guard width > 1 else { return }
      let wide = beams.joined().sorted()
      beam = width
      beam_step_s = median(wide)
      beam_spread = Self.spread(wide)
      beam_ratio = median(zip(beams, greedy).map { median($0) / median($1) })
    }

    /// (p90 − p10) / median of sorted times.
    private static func spread(_ sorted: [Double]) -> Double {
      (sorted[sorted.count * 9 / 10] - sorted[sorted.count / 10]) / sorted[sorted.count / 2]
    }

    /// One length, or the least and the greatest.
    var prompts: String {
      prompt_tokens == prompt_tokens_least ? "\(prompt_tokens)" : "\(prompt_tokens_least):\(prompt_tokens)"
    }

    var text: String {
      func number(_ value: Double?, _ width: Int, _ digits: Int) -> String {
        right(value.map { fixed($0, digits) } ?? "-", width)
      }
      let start = right(prompts, 8) + right("\(batch)", 7)
      let prefill =
        number(prefill_tokens_per_s, 18, 1) + number(prefill_spread.map { 100 * $0 }, 6, 0)
      if let greedy_step_s {
        let beams =
          beam == nil
          ? ""
          : number(beam_step_s.map { 1e3 * $0 }, 12, 2) + number(beam_spread.map { 100 * $0 }, 6, 0)
            + number(beam_ratio, 7, 2)
        return start + prefill + number(1e3 * greedy_step_s, 11, 2)
          + number(decode_spread.map { 100 * $0 }, 6, 0) + beams + "  \(decode_tokens)"
      }
      return start + right(cache_type ?? "-", 7) + prefill
        + number(decode_tokens_per_s, 17, 1) + number(decode_spread.map { 100 * $0 }, 6, 0)
        + "  \(decode_tokens) tokens" + (decode_launches.map { " of \(fixed($0, 0)) launches" } ?? "")
        + (decode_fraction_of_copy.map { ", \(fixed(100 * $0, 0)) % of the copy's rate" } ?? "")
    }
  }
}
