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
/// 2023 (dynamic, yarn), Llama 3.1's model card (llama3).
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
}

extension Checkpoint {
  /// What config.json's rope_scaling or GGUF's metadata say; kinds that are not known are refused by name.
  func ropeScaling(rotary: Int, context: Int) throws -> RopeScaling {
    if has("rope_freqs.weight") {
      return .factors(try floats("rope_freqs.weight", [rotary / 2]).map { Double($0) })
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
        "rope scaling '\(kind)' is not supported; known: linear, llama3, yarn, dynamic")
    }
  }
}

/// A model's rotary positions: a table of as many rows as its sequences have room for, made when it is first needed.
final class RotaryPositions {
  private let backend: any Backend
  private let rotary: Int
  private let base: Double
  private let scaling: RopeScaling
  private let pairing: Rope.Pairing
  private var table: (capacity: Int, rows: RopeTable)?

  init(
    _ c: Checkpoint, on backend: any Backend, rotary: Int, context: Int, base: Double, pairing: Rope.Pairing
  ) throws {
    guard rotary > 0, rotary % 2 == 0 else {
      throw c.error("\(rotary) rotary elements of a head, expected an even number from 2 on")
    }
    (self.backend, self.rotary, self.base, self.pairing) = (backend, rotary, base, pairing)
    scaling = try c.ropeScaling(rotary: rotary, context: context)
  }

  /// The most tokens that the scaling serves, of a model trained with `context`.
  func reach(_ context: Int) -> Int {
    if case .dynamic(let factor, let original) = scaling { Int(factor * Double(original)) } else { context }
  }

  /// The table for sequences of up to `capacity` tokens. Only `dynamic` depends on it, so that a cached key never changes.
  func table(capacity: Int) throws -> RopeTable {
    let isExact = if case .dynamic = scaling { true } else { false }
    if let table, isExact ? table.capacity == capacity : table.capacity >= capacity { return table.rows }
    let stretched = scaling.stretched(base: base, rotary: rotary, capacity: capacity)
    let rows = try backend.ropeTable(
      length: capacity, rotary: rotary, base: stretched.base, factors: stretched.factors,
      magnitude: stretched.magnitude, pairing: pairing)
    table = (capacity, rows)
    return rows
  }
}

extension RopeScaling {
  /// The base, what each pair's frequency is divided by, and what cosines and sines are multiplied by.
  func stretched(base: Double, rotary: Int, capacity: Int) -> (
    base: Double, factors: [Double]?, magnitude: Double
  ) {
    let pairs = rotary / 2
    let frequencies = (0..<pairs).map { pow(base, -2 * Double($0) / Double(rotary)) }
    switch self {
    case .none: return (base, nil, 1)
    case .linear(let factor): return (base, [Double](repeating: factor, count: pairs), 1)
    case .factors(let factors): return (base, factors, 1)
    case .llama3(let factor, let low, let high, let original):
      let factors = frequencies.map { frequency in
        let wavelength = 2 * Double.pi / frequency
        if wavelength < original / high { return 1.0 }
        if wavelength > original / low { return factor }
        let share = (original / wavelength - low) / (high - low)
        return 1 / ((1 - share) / factor + share)
      }
      return (base, factors, 1)
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
      return (base, factors, attention)
    case .dynamic(let factor, let original):
      let room = Double(max(capacity, original)) / Double(original)
      let exponent = Double(rotary) / Double(rotary - 2)
      return (base * pow(factor * room - (factor - 1), exponent), nil, 1)
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
    (stretched(base: base, rotary: rotary, capacity: 1).factors ?? []).map { Float($0) }
  }
}
