import FlashCL
import FlashCLFiles

/// Exact search: the rows of a matrix with the greatest cosine to a vector, every row compared on the device.
///
///     similarity[i] = (row[i] / |row[i]|) · (query / |query|)
///
/// A row or query of zeros has similarity 0. Rows are cut into parts, so that a matrix larger than one buffer is searched too.
public final class NearestRows {
  public struct Match: Sendable, Equatable {
    public let row: Int
    public let similarity: Float
  }

  /// Rows of one part: 2²⁶ numbers, 256 MiB, at a time.
  private static let numbers = 1 << 26

  private let backend: any Backend
  private let parts: [(first: Int, rows: Weight)]
  private let width: Int

  /// Takes a .npy file of float32 `[rows, width]`; throws where a number is not finite.
  public init(_ file: NumPyFile, on backend: any Backend) throws {
    self.backend = backend
    guard file.shape.count == 2, file.descr == Float.descr, file.shape[1] > 0 else {
      throw ModelError(
        "\(file.path): holds \(file.typeName) of shape \(file.shape), expected float32 [rows, width]")
    }
    let (rows, width) = (file.shape[0], file.shape[1])
    self.width = width
    let step = max(1, Self.numbers / width)
    parts = try stride(from: 0, to: rows, by: step).map { first in
      let count = min(step, rows - first)
      var values = file.withBytes { bytes in
        (first * width..<(first + count) * width).map {
          bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self)
        }
      }
      for row in 0..<count {
        let range = row * width..<(row + 1) * width
        guard values[range].allSatisfy(\.isFinite) else {
          throw ModelError("\(file.path): row \(first + row + 1) holds NaN or infinity")
        }
        let scale = Self.inverseLength(values[range])
        for index in range { values[index] *= scale }
      }
      let weight = try values.withUnsafeBytes { bytes in
        try backend.prepare([
          WeightSource(name: file.path, outputs: count, inputs: width, type: .f32, bytes: bytes)
        ])
      }
      return (first, weight)
    }
  }

  /// The `count` nearest rows of each query, the nearest first, the lower row first among equals.
  public func search(_ queries: [[Float]], count: Int) throws -> [[Match]] {
    guard !queries.isEmpty else { return [] }
    guard queries.allSatisfy({ $0.count == width }) else {
      throw ModelError("queries of \(queries.map(\.count)) numbers do not fit rows of \(width)")
    }
    let unit = queries.flatMap { query in
      let scale = Self.inverseLength(query[...])
      return query.map { $0 * scale }
    }
    let x = try backend.tensor(unit, [queries.count, width])
    var found = [[Match]](repeating: [], count: queries.count)
    for part in parts {
      let scores = try backend.linear(x, part.rows, phase: .prefill)
      let k = min(count, part.rows.outputs, TopK.limit)
      let (values, indices) = try backend.topK(scores, k)
      let (similarities, rows) = (try backend.floats(values), try backend.integers(indices))
      for query in queries.indices {
        found[query] += (query * k..<(query + 1) * k).map {
          Match(row: part.first + Int(rows[$0]), similarity: similarities[$0])
        }
      }
    }
    return found.map { matches in
      Array(matches.sorted { ($1.similarity, $0.row) < ($0.similarity, $1.row) }.prefix(count))
    }
  }

  private static func inverseLength(_ values: ArraySlice<Float>) -> Float {
    let length = values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    return length > 0 ? Float(1 / length) : 0
  }
}
