import FlashCLFiles

/// How llama.cpp's GGUF files of one architecture call and arrange what transformers' folders hold.
///
/// An architecture is told once, in transformers' names; of a GGUF file `Checkpoint` looks each of them up here, and a
/// conversion reads the table in both directions.
package struct GGUFNames: Sendable {
  /// Names in config.json to names in the metadata, without the architecture's prefix.
  package var settings: [String: String] = [:]
  /// Names of tensors without `.weight` and `.bias`; `{}` stands for a layer's number, a second one for an expert's, which
  /// lie in one tensor.
  package var tensors: [String: String] = [:]
  /// By the same names, what stands in GGUF in another way.
  package var arrangements: [String: Arrangement] = [:]
  /// transformers' classes that are written under the name; none where files can only be read.
  package var classes: [String] = []
  /// Members of config.json that the format has no field for, with the values that mean what the name means; a folder is given
  /// the first.
  package var fixed: [(name: String, values: [JSON])] = []
  /// config.json's name for the share of a head that turns with the position, and its default; nil: all of it.
  package var rotaryShare: (name: String, fallback: Double)?
  /// Stands before every name but the head's in transformers' newer files.
  package var prefix = ""
  /// Settings of the metadata that config.json tells in another way; throws for what the format cannot tell.
  package var facts: @Sendable (JSON) throws -> [String: JSON] = { _ in [:] }
  /// Members of config.json that a file tells in another way, its class among them.
  package var members: @Sendable (GGUF) -> [String: JSON] = { _ in [:] }
  /// Of names that share one in GGUF, those that a file's tensors do not go by.
  package var others: @Sendable (GGUF) -> Set<String> = { _ in [] }

  package enum Arrangement: Sendable {
    /// Rows of queries or keys: rotary pairs are neighbours in GGUF, half a head apart in folders.
    case queryPairs, keyPairs
    /// Rows of queries, keys and values: group by group in folders; all queries, all keys, all values in GGUF.
    case grouped
    /// `[inputs, outputs]` in folders.
    case transposed
    /// Gains, which folders keep as their distance from 1.
    case fromOne
  }

  /// The table with more names, or other ones.
  func merging(settings: [String: String] = [:], tensors: [String: String] = [:]) -> GGUFNames {
    var names = self
    names.settings.merge(settings) { $1 }
    names.tensors.merge(tensors) { $1 }
    return names
  }

  /// The names of another architecture's files, which can be read alone.
  func reading(settings: [String: String] = [:], tensors: [String: String] = [:]) -> GGUFNames {
    GGUFNames(
      settings: self.settings.merging(settings) { $1 }, tensors: self.tensors.merging(tensors) { $1 })
  }

  /// The names of a family of its own, with more of them and without those that hold one of `leaving`; nothing is rearranged.
  /// `biases` are config.json's switches for a bias of the first layer.
  func family(
    _ name: String, _ type: String, settings: [String: String] = [:], tensors: [String: String] = [:],
    leaving: [String] = [], biases: [String: String] = ["attention_bias": "attn_q"],
    fixed: [(name: String, values: [JSON])] = [("hidden_act", ["silu"])]
  ) -> GGUFNames {
    var names = reading(settings: settings, tensors: tensors)
    func isLeft(_ name: String) -> Bool { leaving.contains { name.contains($0) } }
    names.settings = names.settings.filter { !isLeft($0.key) }
    names.tensors = names.tensors.filter { !isLeft($0.key) }
    (names.classes, names.fixed) = ([name], fixed)
    names.members = { file in
      var members: [String: JSON] = ["architectures": [JSON(name)], "model_type": JSON(type)]
      for (name, part) in biases {
        members[name] = .bool(file.entry(named: "blk.0.\(part).bias") != nil)
      }
      return members
    }
    return names
  }

  /// A tensor's name in the file; a name that is not known here is the file's own.
  func tensor(_ name: String) -> String {
    guard let numbered = NumberedName(name, upTo: 1), let found = tensors[numbered.stem] else { return name }
    return numbered.renamed(found)
  }
}

/// A tensor's name with `{}` in the place of its numbers: `blk.{}.attn_q` and [3] of `blk.3.attn_q.weight`.
package struct NumberedName {
  package let stem: String
  package let numbers: [Int]
  /// `weight` or `bias`
  package let kind: String

  /// Nil for a name without a point; `limit` numbers are taken out.
  package init?(_ name: String, upTo limit: Int = 2) {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard parts.count > 1, let kind = parts.popLast() else { return nil }
    var numbers: [Int] = []
    for place in parts.indices where numbers.count < limit {
      guard let number = Int(parts[place]), number >= 0, parts[place] == "\(number)" else { continue }
      numbers.append(number)
      parts[place] = "{}"
    }
    (self.numbers, self.kind, stem) = (numbers, kind, parts.joined(separator: "."))
  }

  /// The name under another stem, whose `{}` become the numbers, or `more` of them.
  package func renamed(_ stem: String, _ more: Int? = nil) -> String {
    var left = (numbers + (more.map { [$0] } ?? []))[...]
    let parts = stem.split(separator: ".", omittingEmptySubsequences: false).map { part in
      part == "{}" ? left.popFirst().map { "\($0)" } ?? "{}" : String(part)
    }
    return (parts + [kind]).joined(separator: ".")
  }
}
