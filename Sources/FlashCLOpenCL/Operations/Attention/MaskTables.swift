import FlashCL
import FlashCLRuntime

/// Small tables that masks need on the device, kept from call to call: a model asks for the same ones in every layer.
final class MaskTables {
  private var entries: [(mask: AttentionMask, sizes: [Int], buffer: Buffer)] = []
  /// Two lists and a table for each of a few kinds of layer.
  private static let limit = 16

  /// The table of `mask` under `sizes`, made by `bytes` where it is not there yet.
  func buffer(of mask: AttentionMask, _ sizes: [Int], _ queue: Queue, bytes: () -> [UInt8]) throws -> Buffer {
    if let entry = entries.first(where: { $0.sizes == sizes && $0.mask == mask }) { return entry.buffer }
    let bytes = bytes()
    let buffer = try queue.allocate(max(bytes.count, 4))
    if !bytes.isEmpty { try bytes.withUnsafeBytes { try queue.write($0, to: buffer, at: 0) } }
    if entries.count >= Self.limit { entries.removeFirst() }
    entries.append((mask, sizes, buffer))
    return buffer
  }

  /// For tiles of `rows` queries, which tiles of `columns` keys the band and the pattern of `mask` leave: the first list
  /// is where each tile of queries begins in the second, whose entries are twice the number, plus 1 where the pattern
  /// keeps the whole tile.
  func tiles(of mask: AttentionMask, rows: Int, columns: Int, queries: Int, keys: Int, _ queue: Queue) throws
    -> (starts: Buffer, tiles: Buffer)
  {
    var lists: (starts: [Int32], tiles: [Int32])?
    func made() -> (starts: [Int32], tiles: [Int32]) {
      if let lists { return lists }
      let (band, pattern) = mask.split
      var result: (starts: [Int32], tiles: [Int32]) = ([0], [])
      for first in stride(from: 0, to: queries, by: rows) {
        let last = min(first + rows, queries) - 1
        let begin = band.keys(first, queries: queries, keys: keys).lowerBound / columns
        let end = (band.keys(last, queries: queries, keys: keys).upperBound + columns - 1) / columns
        for tile in stride(from: begin, to: end, by: 1) {
          let reach = tile * columns...min((tile + 1) * columns, keys) - 1
          let coverage = pattern.coverage(first...last, reach, queries: queries, keys: keys)
          if coverage != .none { result.tiles.append(Int32(2 * tile + (coverage == .all ? 1 : 0))) }
        }
        result.starts.append(Int32(result.tiles.count))
      }
      lists = result
      return result
    }
    func bytes(_ list: [Int32]) -> [UInt8] { list.withUnsafeBytes { [UInt8]($0) } }
    let sizes = [rows, columns, queries, keys]
    return (
      try buffer(of: mask, sizes + [0], queue) { bytes(made().starts) },
      try buffer(of: mask, sizes + [1], queue) { bytes(made().tiles) }
    )
  }
}

extension AttentionMask {
  /// True where some of the mask's tiles can be told without reading a tensor.
  var hasKnownTiles: Bool {
    switch self {
    case .all, .tensor: false
    case .both(let a, let b), .either(let a, let b): a.hasKnownTiles || b.hasKnownTiles
    default: true
    }
  }
}
