import ArgumentParser
import FlashCL
import FlashCLFiles

/// Which keys take part in which query: everything given here must keep a pair.
struct AttentionMaskOptions: ParsableArguments {
  enum Causal: String, ExpressibleByArgument, CaseIterable {
    case upperLeft = "upper-left"
    case lowerRight = "lower-right"
  }

  /// `L,R`
  struct Window {
    let left, right: Int

    init(_ text: String) throws {
      let sides = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
      guard sides.count == 2, let left = sides[0], let right = sides[1], left >= -1, right >= -1 else {
        throw ValidationError("--window '\(text)' is not L,R: two numbers from 0, or -1 for no limit")
      }
      (self.left, self.right) = (left, right)
    }
  }

  /// `0,5,9`
  struct Positions {
    let ids: [Int]

    init(_ text: String) throws {
      ids = try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let id = Int(part), id >= 0 else {
          throw ValidationError("--global '\(text)' is no list of positions from 0, such as 0,5,9")
        }
        return id
      }
    }
  }

  @Option(
    parsing: .unconditional,
    help: "Keys j ≤ i (upper-left, as in PyTorch) or j ≤ i + Lk − Lq (lower-right, as in FlashAttention).")
  var causal: Causal?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Keys from i + Lk − Lq − L to i + Lk − Lq + R; -1 is no limit.", valueName: "L,R"),
    transform: Window.init)
  var window: Window?
  @Option(parsing: .unconditional, help: ArgumentHelp("Of all distances the multiples of K.", valueName: "K"))
  var dilation: Int?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Positions that see every key and that every query sees, besides --window and --dilation; without these, no other \
      pair takes part.
      """, valueName: "0,5,9"),
    transform: Positions.init)
  var global: Positions?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("bool, broadcast to [B, H, Lq, Lk]; true takes part.", valueName: "m.npy"))
  var mask: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "bool [⌈Lq/b⌉, ⌈Lk/b⌉], or uint8: how often each block counts; needs --block.", valueName: "m.npy"))
  var blockMask: String?
  @Option(parsing: .unconditional, help: "The b of --block-mask: 16, 32, 64 or 128.")
  var block: Int?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "OpenCL C over b, h, i, j (int, from 0); what is not 0 takes part.", valueName: "expression"))
  var maskMod: String?

  var paths: [String] { [mask, blockMask].compactMap { $0 } }

  func validate() throws {
    if let dilation, dilation < 1 { throw ValidationError("--dilation \(dilation) is below 1") }
    if (blockMask == nil) != (block == nil) { throw ValidationError("--block-mask and --block go together") }
    if let block, ![16, 32, 64, 128].contains(block) {
      throw ValidationError("--block \(block) is not 16, 32, 64 or 128")
    }
  }

  /// All of it but the expression, for scores of the shape `[B, H, Lq, Lk]`.
  func mask(scores: [Int], on backend: any Backend) throws -> AttentionMask {
    var near = AttentionMask.all
    if let window { near = .window(left: window.left, right: window.right) }
    if let dilation { near = near.and(.atrous(dilation)) }
    if let ids = global?.ids {
      if let id = ids.first(where: { $0 >= scores[3] }) {
        throw Failure("--global \(id): there are \(scores[3]) keys, counted from 0")
      }
      near = window == nil && dilation == nil ? .global(ids) : near.or(.global(ids))
    }
    var all = near
    switch causal {
    case .upperLeft: all = .causal(.upperLeft).and(all)
    case .lowerRight: all = .causal(.lowerRight).and(all)
    case nil: break
    }
    if let blockMask, let block { all = all.and(.blocks(try Self.blocks(blockMask, block))) }
    if let mask {
      all = all.and(.tensor(try AttentionArray(mask, .bool).tensor(on: backend, broadcastTo: scores)))
    }
    return all
  }

  private static func blocks(_ path: String, _ size: Int) throws -> BlockMask {
    let file = try NumPyFile(path)
    guard ["|b1", "|u1"].contains(file.descr) else {
      throw Failure("\(path): holds \(file.typeName), expected bool or uint8")
    }
    guard file.shape.count == 2 else {
      throw Failure("\(path): has the shape \(file.shape), expected [⌈Lq/\(size)⌉, ⌈Lk/\(size)⌉]")
    }
    let counts =
      file.descr == "|b1" ? try file.elements().map { $0 ? 1 : 0 } : try file.elements(of: UInt8.self)
    return try BlockMask(size: size, rows: file.shape[0], columns: file.shape[1], counts: counts)
  }

  /// The mask for people; empty where every pair takes part.
  var words: [String] {
    var words: [String] = []
    if let causal { words.append("causal (\(causal.rawValue))") }
    func side(_ n: Int) -> String { n < 0 ? "∞" : "\(n)" }
    var near: [String] = []
    if let window { near.append("window \(side(window.left)), \(side(window.right))") }
    if let dilation { near.append("dilation \(dilation)") }
    if let global {
      let ids =
        global.ids.prefix(6).map { "\($0)" }.joined(separator: ", ") + (global.ids.count > 6 ? ", …" : "")
      near.append((near.isEmpty ? "" : "or ") + "global \(ids)")
    }
    if !near.isEmpty { words.append(near.joined(separator: " ")) }
    if let block { words.append("blocks of \(block)") }
    if mask != nil { words.append("mask") }
    if let maskMod { words.append(maskMod) }
    return words
  }
}
