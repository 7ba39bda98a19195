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
      let git = git(of: String(folder))
      if text("\(git)/HEAD") != nil, text("\(folder)/Kernels/prelude.cl") != nil {
        return revision(git) ?? "unknown"
      }
    }
    return "unknown"
  }

  /// The repository's own folder: in a worktree, .git is a file that says where.
  private static func git(of folder: String) -> String {
    let own = "\(folder)/.git"
    guard let link = text(own), link.hasPrefix("gitdir: ") else { return own }
    return path(link.dropFirst(8), from: folder)
  }

  private static func revision(_ git: String) -> String? {
    guard let head = text("\(git)/HEAD") else { return nil }
    guard head.hasPrefix("ref: ") else { return digits(head) }
    let name = head.dropFirst(5).prefix { !$0.isNewline }
    // Worktrees have a head of their own and share the branches.
    let shared = text("\(git)/commondir").map { path($0[...], from: git) } ?? git
    if let loose = text("\(shared)/\(name)") { return digits(loose) }
    let packed = text("\(shared)/packed-refs")?.split(separator: "\n").first { $0.hasSuffix(" \(name)") }
    return packed.flatMap { digits(String($0)) }
  }

  /// The first line of `text` as a path, which may be relative to `folder`.
  private static func path(_ text: Substring, from folder: String) -> String {
    let line = text.prefix { !$0.isNewline }
    return line.hasPrefix("/") ? String(line) : "\(folder)/\(line)"
  }

  private static func digits(_ text: String) -> String? {
    let digits = text.prefix { $0.isHexDigit }
    return digits.count >= 40 ? String(digits) : nil
  }

  private static func text(_ path: String) -> String? {
    (try? contents(of: path)).map { String(decoding: $0, as: UTF8.self) }
  }
}
