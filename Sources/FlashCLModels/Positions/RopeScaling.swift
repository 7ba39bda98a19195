import FlashCL
import FlashCLFiles

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How a model stretches its rotary positions over more tokens than it was first trained with.
///
/// A pair's angle is p · f with f = base^(−2i / rotary); its wavelength is 2π / f. Sources: Chen et al. 2023 (linear), Peng et al.
/// 2023 (dynamic, yarn), Ding et al. 2024 (longrope), Llama 3.1's model card (llama3).
package enum RopeScaling: Equatable {
  case none
  /// f / factor
  case linear(factor: Double)
  /// Wavelengths above `original / low` are stretched by the factor, those below `original / high` stay, between them both are mixed.
  case llama3(factor: Double, low: Double, high: Double, original: Double)
  /// Pairs that turn more than `fast` times over the original length stay, those below `slow` times are stretched, a ramp lies
  /// between; cosines and sines are multiplied by `attention`.
  case yarn(
    factor: Double, fast: Double, slow: Double, original: Double, attention: Double, truncates: Bool)
  /// The base grows with the sequence's room once that passes the original length.
  case dynamic(factor: Double, original: Int)
  /// f / factors[i], as GGUF's rope_freqs.weight has them.
  case factors([Double])
  /// f / short[i], or f / long[i] once the sequence's room passes the original length; cosines and sines are multiplied by
  /// `attention`.
  case longRope(short: [Double], long: [Double], original: Int, attention: Double)
}

extension Checkpoint {
  /// What config.json's rope_scaling or GGUF's metadata say; kinds that are not known are refused by name.
  func ropeScaling(rotary: Int, context: Int) throws -> RopeScaling {
    func factors(_ name: String) throws -> [Double] {
      try ropeFactors(floats("\(name).weight", [rotary / 2]).map { Double($0) }, name, rotary)
    }
    if has("rope_freqs.weight") { return .factors(try factors("rope_freqs")) }
    if has("rope_factors_long.weight") {
      return .longRope(
        short: try factors("rope_factors_short"), long: try factors("rope_factors_long"),
        original: try originalContext(context), attention: ropeScalingSetting("attention_factor") ?? 1)
    }
    guard let kind = ropeScalingKind else { return .none }
    func value(_ name: String, default fallback: Double? = nil) throws -> Double {
      let found = ropeScalingSetting(name)
      guard let value = found ?? fallback, value.isFinite, value > 0 else {
        throw error(
          "rope_scaling has the \(name) \(found.map { "\($0)" } ?? "missing"), expected a number above 0")
      }
      return value
    }
    let original = ropeScalingSetting("original_max_position_embeddings") ?? Double(context)
    switch kind {
    case "default", "none": return .none
    case "linear": return .linear(factor: try value("factor"))
    case "llama3":
      return .llama3(
        factor: try value("factor"), low: try value("low_freq_factor"), high: try value("high_freq_factor"),
        original: try value("original_max_position_embeddings"))
    // The first files of Phi-3 have older names for longrope.
    case "longrope", "su": return try longRope(rotary: rotary, context: context)
    case "yarn" where self["rope_scaling"]?["short_factor"] != nil:
      return try longRope(rotary: rotary, context: context)
    case "yarn":
      let factor = try value("factor")
      func magnitude(_ scale: Double) -> Double { factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1 }
      var attention = magnitude(1)
      if let scale = ropeScalingSetting("mscale"), let all = ropeScalingSetting("mscale_all_dim"),
        scale != 0, all != 0
      {
        attention = magnitude(scale) / magnitude(all)
      }
      return .yarn(
        factor: factor, fast: try value("beta_fast", default: 32), slow: try value("beta_slow", default: 1),
        original: original, attention: try value("attention_factor", default: attention),
        truncates: self["rope_scaling"]?["truncate"]?.bool ?? true)
    case "dynamic": return .dynamic(factor: try value("factor"), original: context)
    default:
      throw error(
        "rope scaling '\(kind)' is not supported; known: linear, llama3, yarn, dynamic, longrope")
    }
  }

  /// Two lists of factors; without `attention_factor` it is √(1 + ln(factor) / ln(original)), with the factor by which the
  /// context has grown.
  private func longRope(rotary: Int, context: Int) throws -> RopeScaling {
    func list(_ name: String) throws -> [Double] {
      let values = self["rope_scaling"]?[name]?.array?.map { $0.double ?? .nan }
      return try ropeFactors(values, "rope_scaling.\(name)", rotary)
    }
    let original = try originalContext(context)
    let grown = isSet("original_max_position_embeddings") ? Double(context) / Double(original) : nil
    let factor = grown ?? ropeScalingSetting("factor")
    let attention =
      ropeScalingSetting("attention_factor")
      ?? factor.map { $0 <= 1 ? 1 : (1 + log($0) / log(Double(original))).squareRoot() }
    guard let attention, attention.isFinite, attention > 0 else {
      throw error("rope_scaling longrope has neither an attention_factor nor a factor above 0")
    }
    return .longRope(
      short: try list("short_factor"), long: try list("long_factor"), original: original,
      attention: attention)
  }

  /// The context of the first training: config.json's own setting, one of rope_scaling, or the whole context.
  private func originalContext(_ context: Int) throws -> Int {
    let name = "original_max_position_embeddings"
    if isSet(name) { return try size(name) }
    guard let value = ropeScalingSetting(name) else { return context }
    guard let original = Int(exactly: value), (2...1 << 24).contains(original) else {
      throw error("rope_scaling has the \(name) \(value), expected a whole number from 2 to \(1 << 24)")
    }
    return original
  }

  private func ropeFactors(_ values: [Double]?, _ name: String, _ rotary: Int) throws -> [Double] {
    guard let values, values.count == rotary / 2 else {
      throw error("\(name) has \(values?.count ?? 0) factors, expected \(rotary / 2)")
    }
    guard values.allSatisfy({ $0.isFinite && $0 > 0 }) else {
      throw error("\(name) holds a factor that is no number above 0")
    }
    return values
  }
}

/// A model's rotary positions: a table that grows with the longest sequence.
final class RotaryPositions {
  private let backend: any Backend
  private let rotary: Int
  private let base: Double
  private let scaling: RopeScaling
  private let pairing: Rope.Pairing
  private var table: (length: Int, stretch: RopeStretch, rows: RopeTable)?

  /// `isScaled`: as the file's rope scaling has it.
  init(
    _ c: Checkpoint, on backend: any Backend, rotary: Int, context: Int, base: Double, pairing: Rope.Pairing,
    isScaled: Bool = true
  ) throws {
    guard base > 0 else { throw c.error("rope_theta is \(base), expected a number above 0") }
    guard rotary > 0, rotary % 2 == 0 else {
      throw c.error("\(rotary) rotary elements of a head, expected an even number from 2 on")
    }
    (self.backend, self.rotary, self.base, self.pairing) = (backend, rotary, base, pairing)
    scaling = isScaled ? try c.ropeScaling(rotary: rotary, context: context) : .none
  }

  /// The most tokens that the scaling serves, of a model trained with `context`.
  func reach(_ context: Int) -> Int {
    if case .dynamic(let factor, let original) = scaling { Int(factor * Double(original)) } else { context }
  }

  /// The most tokens that sequences may have room for before that changes all angles, of a model trained with `context`.
  func unstretched(_ context: Int) -> Int {
    switch scaling {
    case .dynamic(_, let original), .longRope(_, _, let original, _): min(original, context)
    default: context
    }
  }

  /// The table for sequences of up to `tokens` tokens that have room for `capacity`. `dynamic` and `longrope` depend on that room,
  /// not on the tokens that are there, so that a cached key never changes.
  func table(tokens: Int, capacity: Int) throws -> RopeTable {
    let stretch = scaling.stretch(base: base, rotary: rotary, capacity: capacity)
    if let table, table.length >= tokens, table.stretch == stretch { return table.rows }
    let length = min(capacity, max(tokens, 2 * (table?.length ?? 128)))
    let rows = try backend.ropeTable(
      length: length, rotary: rotary, base: stretch.base, factors: stretch.factors,
      magnitude: stretch.magnitude, pairing: pairing)
    table = (length, stretch, rows)
    return rows
  }
}

/// The base, what each pair's frequency is divided by, and what cosines and sines are multiplied by.
struct RopeStretch: Equatable {
  var base: Double
  var factors: [Double]?
  var magnitude: Double = 1
}

extension RopeScaling {
  /// What it makes of a model's own base, for sequences of up to `capacity` tokens.
  func stretch(base: Double, rotary: Int, capacity: Int) -> RopeStretch {
    let pairs = rotary / 2
    let frequencies = (0..<pairs).map { pow(base, -2 * Double($0) / Double(rotary)) }
    switch self {
    case .none: return RopeStretch(base: base)
    case .linear(let factor):
      return RopeStretch(base: base, factors: [Double](repeating: factor, count: pairs))
    case .factors(let factors): return RopeStretch(base: base, factors: factors)
    case .longRope(let short, let long, let original, let attention):
      return RopeStretch(base: base, factors: capacity > original ? long : short, magnitude: attention)
    case .llama3(let factor, let low, let high, let original):
      let factors = frequencies.map { frequency in
        let wavelength = 2 * Double.pi / frequency
        if wavelength < original / high { return 1.0 }
        if wavelength > original / low { return factor }
        let share = (original / wavelength - low) / (high - low)
        return 1 / ((1 - share) / factor + share)
      }
      return RopeStretch(base: base, factors: factors)
    case .yarn(let factor, let fast, let slow, let original, let attention, let truncates):
      // The pair that turns so many times over the original length.
      func pair(turning turns: Double) -> Double {
        Double(rotary) * log(original / (turns * 2 * Double.pi)) / (2 * log(base))
      }
      var (first, last) = (pair(turning: fast), pair(turning: slow))
      if truncates { (first, last) = (first.rounded(.down), last.rounded(.up)) }
      (first, last) = (max(first, 0), min(last, Double(rotary - 1)))
      if first == last { last += 0.001 }
      let factors = (0..<pairs).map { index in
        let ramp = min(max((Double(index) - first) / (last - first), 0), 1)
        return 1 / (ramp / factor + 1 - ramp)
      }
      return RopeStretch(base: base, factors: factors, magnitude: attention)
    case .dynamic(let factor, let original):
      let room = Double(max(capacity, original)) / Double(original)
      let exponent = Double(rotary) / Double(rotary - 2)
      return RopeStretch(base: base * pow(factor * room - (factor - 1), exponent))
    }
  }
}

extension RopeScaling {
  /// What config.json's words of the kind llama3 say; throws `ModelError` where a number is missing.
  package init(llama3 words: JSON) throws {
    func value(_ name: String) throws -> Double {
      guard let value = words[name]?.double, value.isFinite, value > 0 else {
        throw ModelError("rope_scaling has no \(name) above 0")
      }
      return value
    }
    self = .llama3(
      factor: try value("factor"), low: try value("low_freq_factor"), high: try value("high_freq_factor"),
      original: try value("original_max_position_embeddings"))
  }

  /// What each pair's frequency is divided by, as GGUF's rope_freqs.weight has it.
  package func factors(base: Double, rotary: Int) -> [Float] {
    (stretch(base: base, rotary: rotary, capacity: 1).factors ?? []).map { Float($0) }
  }
}
