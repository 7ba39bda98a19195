/// How llama.cpp's GGUF files call what transformers' files hold: an architecture's settings and tensors, name by name.
///
/// An architecture is told once, in transformers' names; of a GGUF file `Checkpoint` looks each of them up here.
struct GGUFNames: Sendable {
  /// Names in config.json to names in the metadata, without the architecture's prefix.
  var settings: [String: String] = [:]
  /// Names of tensors without `.weight` and `.bias`; `{}` stands for a layer's number.
  var tensors: [String: String] = [:]

  func merging(settings: [String: String] = [:], tensors: [String: String] = [:]) -> GGUFNames {
    GGUFNames(
      settings: self.settings.merging(settings) { $1 }, tensors: self.tensors.merging(tensors) { $1 })
  }

  /// A tensor's name in the file; a name that is not known here is the file's own.
  func tensor(_ name: String) -> String {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count > 1, let kind = parts.popLast() else { return name }
    let place = parts.firstIndex { $0.allSatisfy(\.isNumber) }
    let number = place.map { String(parts[$0]) }
    if let place { parts[place] = "{}" }
    let stem = parts.joined(separator: ".")
    guard let found = tensors[stem] else { return name }
    let stored: String = found.split(separator: "{}", omittingEmptySubsequences: false)
      .joined(separator: number ?? "")
    return "\(stored).\(kind)"
  }
}
