/// A piece of a template: text between tags, or a word inside one.
struct Token {
  enum Kind: Equatable {
    case text(String)
    case outputBegin, outputEnd, blockBegin, blockEnd
    case name(String)
    case string(String)
    case integer(Int)
    case float(Double)
    case symbol(String)
    case end
  }

  let kind: Kind
  let place: Place

  /// The token as messages tell it.
  var told: String {
    switch kind {
    case .text: "text"
    case .outputBegin: "'{{'"
    case .outputEnd: "'}}'"
    case .blockBegin: "'{%'"
    case .blockEnd: "'%}'"
    case .name(let name): "'\(name)'"
    case .string: "a string"
    case .integer(let value): "'\(value)'"
    case .float(let value): "'\(value)'"
    case .symbol(let symbol): "'\(symbol)'"
    case .end: "the end of the template"
    }
  }
}
