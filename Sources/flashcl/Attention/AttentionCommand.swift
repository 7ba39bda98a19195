import ArgumentParser
import FlashCL
import FlashCLFiles

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

struct AttentionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attention", abstract: "Computes attention over arrays.",
    discussion: """
      softmax(scores(q, k)) · v over .npy files in C order: q, k, v float32 or float16, [B, H, L, D]; the heads of q \
      are a multiple of those of k and v. All masks that are given apply together; a query that sees no key gets 0.
      Example: flashcl attention q.npy k.npy v.npy --output o.npy --causal lower-right --window 255,0
      """)

  enum Stored: String, ExpressibleByArgument, CaseIterable {
    case f32, f16, bf16
    var type: ElementType {
      switch self {
      case .f32: .f32
      case .f16: .f16
      case .bf16: .bf16
      }
    }
  }

  @Argument(help: ArgumentHelp("Queries [B, H, Lq, D].", valueName: "q.npy"))
  var q: String
  @Argument(help: ArgumentHelp("Keys [B, Hkv, Lk, D].", valueName: "k.npy"))
  var k: String
  @Argument(help: ArgumentHelp("Values [B, Hkv, Lk, Dv].", valueName: "v.npy"))
  var v: String
  @Option(
    name: .customLong("output"), parsing: .unconditional,
    help: ArgumentHelp(
      "The result, [B, H, Lq, Dv]: float16 for --type f16, else float32.", valueName: "o.npy"))
  var path: String
  @Option(help: "The axes of q, k, v and the result: [B, H, L, D] or [B, L, H, D].")
  var layout = AttentionLayout.bhld
  @Option(help: "How q, k and v are stored on the device; by default as in their files.")
  var type: Stored?
  @OptionGroup var device: DeviceOption

  @OptionGroup(title: "Masks") var masks: AttentionMaskOptions
  @OptionGroup(title: "Scores") var scores: AttentionScoreOptions
  @OptionGroup(title: "Sequences") var sequences: AttentionSequences

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Also write the logarithm of each row's denominator, float32 [B, H, Lq].", valueName: "l.npy"))
  var lse: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Also write the weights of the values, float32 [B, H, Lq, Lk].", valueName: "w.npy"))
  var weights: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Also draw, as .svg or .png, which tiles of queries × keys are skipped, partly and wholly computed for the first sequence, one panel \
      for each of the first 8 heads where they differ. --score-mod is asked at scores of 0.
      """, valueName: "mask.svg"))
  var draw: String?

  private var inputs: [String] { [q, k, v] + masks.paths + scores.paths + sequences.paths }

  func validate() throws {
    if weights != nil && (sequences.isRagged || sequences.isPaged) {
      throw ValidationError("--weights needs dense sequences: no --cu-seqlens-q, no --block-table")
    }
    var taken = Set(inputs.map(canonical))
    for output in [path, lse, weights, draw].compactMap({ $0 }) {
      if !taken.insert(canonical(output)).inserted {
        throw ValidationError("'\(output)' is to be written, and is named twice")
      }
    }
  }

  func run() throws {
    for path in inputs { _ = try NumPyFile(path) }  // a missing file is known before anything is read
    let operands = try AttentionOperands(
      q, k, v, layout: layout, type: type?.type, isPaged: sequences.isPaged)
    if scores.needsEqualHeads { try operands.requireEqualHeads() }
    if let draw { try Picture.requireWritable(draw) }
    let backend = try device.backend()
    let y = try backend.allocate(
      layout.swapped(operands.queries.dropLast() + [operands.values[3]]), operands.type)
    let attention = try attention(operands, y: layout.swapped(y), on: backend)
    try attention.validate()

    // Every file is open before the work begins, and has its name when all of it is done.
    var results = [try AttentionResult(y, to: path)]
    if let lse, let logSumExp = attention.logSumExp {
      results.append(try AttentionResult(logSumExp, to: lse))
    }
    let shown = try weights.map { path in
      let shape = [attention.batch, attention.heads, attention.queryCount, attention.keyCount]
      let tensor = try backend.allocate(shape, .f32)
      results.append(try AttentionResult(tensor, to: path))
      return AttentionWeights(of: attention, heads: [Int](0..<attention.heads), weights: tensor)
    }
    try sequences.fill(attention.source, operands, on: backend)
    try backend.run(attention)
    if let shown { try backend.run(shown) }
    let picture = try draw.map { _ in
      AttentionPicture(tiles: try AttentionTiles(of: attention, on: backend), mask: maskWords)
    }
    for result in results { try result.fill(from: backend) }
    for result in results { try result.finish() }
    if let draw, let picture { try Picture.write(picture.svg, to: draw) }
  }

  /// The whole call as one description.
  private func attention(_ operands: AttentionOperands, y: Tensor, on backend: any Backend) throws
    -> Attention
  {
    let rows = try sequences.rows(operands, on: backend)
    let source = try sequences.source(operands, on: backend)
    let q = try operands.tensor(operands.q, on: backend)
    let logSumExp = try lse.map { _ in try backend.allocate([Int](operands.queries[0...2]), .f32) }
    let sizes = Attention(q: q, rows: rows, source: source, y: y)
    let shape = [sizes.batch, sizes.heads, sizes.queryCount, sizes.keyCount]
    let mask = try masks.mask(scores: shape, on: backend)
    let options = try scores.options(scores: shape, mask: mask, maskMod: masks.maskMod, on: backend)
    return Attention(
      q: q, rows: rows, source: source, options: options,
      phase: sizes.queryCount <= Attention.decodeRows ? .decode : .prefill, y: y, logSumExp: logSumExp)
  }

  /// The mask in words, for the picture's title.
  private var maskWords: [String] {
    masks.words + (sequences.keyLengths == nil ? [] : ["key lengths"]) + (scores.bias == nil ? [] : ["bias"])
  }

  /// One name for one file: two paths that lead to the same place are equal.
  private func canonical(_ path: String) -> String {
    func resolved(_ path: String) -> String? {
      guard let pointer = realpath(path, nil) else { return nil }
      defer { free(pointer) }
      return String(cString: pointer)
    }
    if let whole = resolved(path) { return whole }
    let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
    let folder = slash.map { String(path[...$0]) } ?? "."
    let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
    return (resolved(folder) ?? folder) + "/" + name
  }
}
