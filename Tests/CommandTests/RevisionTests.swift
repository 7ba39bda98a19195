import Foundation
import Testing

/// The revision that results carry, of a checkout, a worktree, and none.
@Suite struct RevisionTests {
  private let digits = "0123456789abcdef0123456789abcdef01234567"

  @Test(arguments: [
    ["repo/.git/HEAD": "DIGITS\n"],
    ["repo/.git/HEAD": "ref: refs/heads/x\n", "repo/.git/refs/heads/x": "DIGITS\n"],
    [
      "repo/.git": "gitdir: ../other/.git/worktrees/w\n",
      "other/.git/worktrees/w/HEAD": "ref: refs/heads/x\n",
      "other/.git/worktrees/w/commondir": "../..\n", "other/.git/refs/heads/x": "DIGITS\n",
    ],
    [
      "repo/.git": "gitdir: FOLDER/other/.git/worktrees/w\n",
      "other/.git/worktrees/w/HEAD": "ref: refs/heads/x\n",
      "other/.git/worktrees/w/commondir": "../..\n",
      "other/.git/packed-refs": "# pack-refs\nDIGITS refs/heads/x\n",
    ],
    ["repo/.git": "gitdir: nowhere\n"],
  ])
  func ofACheckout(files: [String: String]) throws {
    let scratch = try Scratch()
    let all = files.merging(["repo/Kernels/prelude.cl": "//\n"]) { $1 }
    for (name, text) in all {
      let file = scratch.folder.appendingPathComponent(name)
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try text.replacing("DIGITS", with: digits).replacing("FOLDER", with: scratch.folder.path)
        .write(to: file, atomically: true, encoding: .utf8)
    }
    let copy = scratch.folder.appendingPathComponent("repo/flashcl")
    try FileManager.default.copyItem(at: flashcl.resolvingSymlinksInPath(), to: copy)
    let arguments = ["check", "^silu_multiply.*type=f32,rows=3,width=1,", "--format", "json"]
    let json = try runOnceFree(arguments, copy).json()
    let isKnown = files.values.contains { $0.contains("DIGITS") }
    #expect(json["revision"] as? String == (isKnown ? digits : "unknown"))
  }

  /// A process that another test starts at this moment has the copy open for writing until it has become its own program.
  private func runOnceFree(_ arguments: [String], _ program: URL) throws -> Outcome {
    for _ in 0..<100 {
      do { return try run(arguments, program: program) } catch  where "\(error)".contains("Text file busy") {
        usleep(50_000)
      }
    }
    return try run(arguments, program: program)
  }
}
