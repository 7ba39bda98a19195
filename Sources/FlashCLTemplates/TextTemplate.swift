/// A text with Jinja tags, parsed once and rendered as `transformers` renders chat templates: newlines after tags and
/// blanks before them left out (`trim_blocks`, `lstrip_blocks`), loop controls, a sandbox without mutation.
///
///     let template = try TextTemplate("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
///     let text = try template.render(["messages": messages])
///
/// What is written is what Jinja writes, to the byte; whatever of Jinja or Python is not here throws.
public struct TextTemplate: Sendable {
  private let body: Body

  /// Parses a template; throws `TemplateError` with the place of what is wrong or not supported.
  public init(_ source: String) throws {
    var parser = Parser(try Lexer.tokens(of: source))
    body = try parser.template()
  }

  /// The text for these variables.
  ///
  /// - Parameters:
  ///   - now: what `strftime_now` tells; without it, that function is an error.
  ///
  /// Throws `TemplateError`: `.raised` where the template itself refuses its variables by `raise_exception`.
  public func render(
    _ variables: [String: TemplateValue], now: TemplateTime? = nil, limits: TemplateLimits = TemplateLimits()
  ) throws -> String {
    let renderer = Renderer(variables, now: now, limits: limits)
    return try renderer.render(body)
  }
}

/// What a template may use up before it is stopped.
public struct TemplateLimits: Sendable {
  /// Expressions evaluated, and characters and elements made, roughly; a few million a second.
  public var steps = 5_000_000
  /// Bytes of the text, and of every string on the way to it.
  public var bytes = 1 << 24
  /// Statements, expressions and macro calls inside each other.
  public var depth = 700

  public init() {}
}

/// What is wrong with a template, or with what it was given, and where.
public struct TemplateError: Error, Equatable, CustomStringConvertible {
  public enum Kind: Sendable {
    /// No Jinja template.
    case syntax
    /// Jinja or Python that this module does not know.
    case unsupported
    /// Jinja itself would fail here.
    case failed
    /// The template called `raise_exception`; the message is its own.
    case raised
    /// A limit was reached.
    case limit
  }

  public let kind: Kind
  /// From 1, as `column`, which counts Unicode scalars.
  public let line: Int
  public let column: Int
  public let message: String

  public var description: String { "line \(line), column \(column): \(message)" }
}

/// An error that has no place yet.
struct Fault: Error {
  var kind = TemplateError.Kind.failed
  var message: String

  init(_ message: String, _ kind: TemplateError.Kind = .failed) {
    self.kind = kind
    self.message = message
  }

  static func unsupported(_ what: String) -> Fault { Fault("\(what) is not supported", .unsupported) }

  func located(at place: Place) -> TemplateError {
    TemplateError(kind: kind, line: place.line, column: place.column, message: message)
  }
}

/// Where something stands in a template.
struct Place: Sendable {
  var line: Int
  var column: Int
}
