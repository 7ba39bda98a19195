#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The git revision of the checkout that the running binary lies in.
enum Revision {
  /// Forty digits; "unknown" for a binary that was carried elsewhere.
  static var current: String {
    guard let binary = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
      return "unknown"
    }
    var folder = binary[...]
    while let slash = folder.lastIndex(of: "/") {
      folder = folder[..<slash]
      // Not any repository around the binary: ours has the kernels.
      if text("\(folder)/.git/HEAD") != nil, text("\(folder)/Kernels/prelude.cl") != nil {
        return revision(git: "\(folder)/.git") ?? "unknown"
      }
    }
    return "unknown"
  }

  private static func revision(git: String) -> String? {
    guard let head = text("\(git)/HEAD") else { return nil }
    guard head.hasPrefix("ref: ") else { return digits(head) }
    let name = head.dropFirst(5).prefix { !$0.isNewline }
    if let loose = text("\(git)/\(name)") { return digits(loose) }
    let packed = text("\(git)/packed-refs")?.split(separator: "\n").first { $0.hasSuffix(" \(name)") }
    return packed.flatMap { digits(String($0)) }
  }

  private static func digits(_ text: String) -> String? {
    let digits = text.prefix { $0.isHexDigit }
    return digits.count >= 40 ? String(digits) : nil
  }

  private static func text(_ path: String) -> String? {
    (try? contents(of: path)).map { String(decoding: $0, as: UTF8.self) }
  }
}
