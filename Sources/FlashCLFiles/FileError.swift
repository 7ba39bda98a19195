/// What is wrong with a file, in one line that names the file: the only error of this module.
public struct FileError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The file or folder, as the caller named it.
  public let path: String
  /// Where in the file (tensor, key, byte), the limit, and the value found.
  public let problem: String

  public init(_ path: String, _ problem: String) {
    self.path = path
    self.problem = problem
  }

  public var description: String { "\(path): \(problem)" }
}

/// A name from a file, ready for a one-line message: in quotes, control characters escaped, cut at 80.
func quoted(_ name: String) -> String {
  let scalars = name.unicodeScalars
  var text = "\""
  for scalar in scalars.prefix(80) {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: text += scalar.escaped(asASCII: true)
    default: text.unicodeScalars.append(scalar)
    }
  }
  return scalars.count > 80 ? text + "…\"" : text + "\""
}
