import FlashCL
import FlashCLRuntime

/// A weight in tiles of sixteen outputs (Kernels/weights.cl), in parts that fit the device's largest buffer.
final class TiledWeight: Storage {
  struct Part {
    let tiles: Buffer
    let type: ElementType
    let first: Int  // output where this part begins
    let outputs: Int
  }
  let parts: [Part]
  init(_ parts: [Part]) { self.parts = parts }
}

extension Weight {
  func parts() throws -> [TiledWeight.Part] {
    guard let storage = storage as? TiledWeight else {
      throw FlashCLError.shape("a weight of another backend was given to an OpenCL device")
    }
    return storage.parts
  }
}

extension ElementType {
  /// Bytes of one block of a tile: sixteen lanes; W_TILE_BYTES in the kernels.
  var tileBytes: Int { 16 * blockBytes }
}

extension OpenCLBackend {
  /// Rows of a file are staged in pieces of this size, so that loading holds little beside the weights: 4 MiB.
  private static let stagingBytes = 4 << 20
  private static let tileFile = KernelFile("weight_tile", including: ["weights"])

  public func prepare(_ sources: [WeightSource]) throws -> Weight {
    guard let head = sources.first, sources.allSatisfy({ $0.inputs == head.inputs }) else {
      throw FlashCLError.shape("weights stacked by outputs need equal inputs")
    }
    var parts: [TiledWeight.Part] = []
    var first = 0
    for run in runs(sources) {
      let outputs = run.reduce(0) { $0 + $1.outputs }
      let rowBytes = head.inputs / run[0].type.blockLength * run[0].type.blockBytes
      let limit = min(queue.device.maxAllocation, weightPartLimit) / (16 * rowBytes) * 16
      guard limit > 0 else {
        throw FlashCLError.unsupported(
          "weight \(run[0].name): sixteen rows of \(rowBytes) B pass the device's largest buffer, "
            + "\(queue.device.maxAllocation) B")
      }
      for begin in stride(from: 0, to: outputs, by: limit) {
        let count = min(limit, outputs - begin)
        let tiles = try queue.allocate((count + 15) / 16 * 16 * rowBytes)
        try fill(tiles, from: run, outputs: begin..<begin + count)
        parts.append(.init(tiles: tiles, type: run[0].type, first: first + begin, outputs: count))
      }
      first += outputs
    }
    return Weight(shape: [first, head.inputs], type: head.type, storage: TiledWeight(parts))
  }

  /// Consecutive sources that can share tiles: one type, and every one but the last whole tiles.
  private func runs(_ sources: [WeightSource]) -> [[WeightSource]] {
    var runs: [[WeightSource]] = []
    for source in sources {
      if let last = runs.last?.last, last.type == source.type, last.outputs % 16 == 0 {
        runs[runs.count - 1].append(source)
      } else {
        runs.append([source])
      }
    }
    return runs
  }

  /// Fills tiles with outputs `range` of the stacked sources.
  private func fill(_ tiles: Buffer, from sources: [WeightSource], outputs range: Range<Int>) throws {
    var first = 0
    for source in sources {
      let wanted = range.clamped(to: first..<first + source.outputs)
      if !wanted.isEmpty {
        try fill(
          tiles, at: (wanted.lowerBound - range.lowerBound) / 16, from: source,
          outputs: wanted.lowerBound - first..<wanted.upperBound - first)
      }
      first += source.outputs
    }
  }

  private func fill(_ tiles: Buffer, at tile: Int, from source: WeightSource, outputs range: Range<Int>)
    throws
  {
    let blocks = source.inputs / source.type.blockLength
    let rowBytes = blocks * source.type.blockBytes
    let transposed = source.order == .inputsByOutputs
    // A transposed source has no contiguous rows: it is staged whole.
    let piece = transposed ? range.count : max(16, Self.stagingBytes / rowBytes / 16 * 16)
    let staging = try queue.allocate(transposed ? source.bytes.count : min(piece, range.count) * rowBytes)
    if transposed { try queue.write(source.bytes, to: staging) }
    for begin in stride(from: range.lowerBound, to: range.upperBound, by: piece) {
      let count = min(piece, range.upperBound - begin)
      if !transposed {
        let bytes = UnsafeRawBufferPointer(
          rebasing: source.bytes[begin * rowBytes..<(begin + count) * rowBytes])
        try queue.write(bytes, to: staging)
      }
      try launcher.launch(
        "weight_tile_items", in: Self.tileFile, ["W_TYPE": source.type.rawValue],
        global: [blocks, (count + 15) / 16 * 16],
        [
          .buffer(staging), .ulong(transposed ? begin : 0), .buffer(tiles),
          .ulong((tile + (begin - range.lowerBound) / 16) * blocks * source.type.tileBytes), .uint(count),
          .uint(blocks), .ulong(transposed ? 1 : blocks), .ulong(transposed ? source.outputs : 1),
        ])
    }
  }
}
