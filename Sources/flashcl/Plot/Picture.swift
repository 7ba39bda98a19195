#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Files of pictures: SVG, which is written here, or PNG, which rsvg-convert makes of it.
enum Picture {
  static let (ground, ink, faint, rule) = ("#fcfcfb", "#22262b", "#6b7280", "#e3e5e8")
  static let font = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
  /// Colours that colour-blind people tell apart (Okabe, Ito 2008).
  static let colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a07800", "#56b4e9", "#5b4a9e"]

  /// A coordinate in pixels.
  static func n(_ value: Double) -> String {
    let text = fixed(value, 2)
    return text.hasSuffix(".00") ? String(text.dropLast(3)) : text
  }

  /// Text from outside as it may stand in XML.
  static func xml(_ text: String) -> String {
    var result = ""
    for character in escaped(text) {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.append(character)
      }
    }
    return result
  }

  /// Throws where no picture can be made under this path, before any work.
  static func requireWritable(_ path: String) throws {
    let folder = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[...$0]) } ?? "."
    var status = stat()
    if stat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFREG {
      throw Failure("\(path): is there, and is no regular file")
    }
    guard access(folder, W_OK) == 0 else {
      throw Failure("\(path): cannot be written: \(String(cString: strerror(errno)))")
    }
    guard !isPNG(path) || converter != nil else {
      throw Failure(
        "\(path): a PNG is made by rsvg-convert, which is not installed (apt install librsvg2-bin); name it .svg"
      )
    }
  }

  /// Writes a picture, as PNG where the name ends so; the file is there whole or not at all.
  static func write(_ svg: String, to path: String) throws {
    guard isPNG(path) else { return try Output.write(Array(svg.utf8), toFile: path) }
    let (source, target) = ("\(path).\(getpid()).svg", "\(path).\(getpid()).tmp")
    defer {
      unlink(source)
      unlink(target)
    }
    try Output.write(Array(svg.utf8), toFile: source)
    guard let converter else { throw Failure("\(path): rsvg-convert is not installed") }
    let status = try run(converter, ["--zoom", "2", "--format", "png", "--output", target, source])
    guard status == 0 else { throw Failure("\(path): rsvg-convert failed with status \(status)") }
    guard rename(target, path) == 0 else {
      throw Failure("\(path): cannot be written: \(String(cString: strerror(errno)))")
    }
  }

  private static func isPNG(_ path: String) -> Bool { path.lowercased().hasSuffix(".png") }

  /// Where rsvg-convert is on the PATH.
  private static var converter: String? {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    return path.split(separator: ":").map { "\($0)/rsvg-convert" }.first { access($0, X_OK) == 0 }
  }

  /// The exit status of a program; −1 where a signal ended it.
  private static func run(_ program: String, _ arguments: [String]) throws -> Int32 {
    let words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var child: pid_t = 0
    let code = posix_spawn(&child, program, nil, nil, words, environ)
    guard code == 0 else {
      throw Failure("\(program): cannot be started: \(String(cString: strerror(code)))")
    }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : -1
  }
}
