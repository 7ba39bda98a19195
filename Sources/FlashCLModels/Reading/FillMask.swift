import FlashCL
import FlashCLTokenizers

extension EncoderModel {
  /// A token for a masked place.
  public struct Guess: Sendable {
    public let id: Int32
    /// The token as text.
    public let piece: String
    /// Its probability.
    public let score: Double
    /// The whole text with the token in its place; other masks stay.
    public let text: String
  }

  /// The likeliest tokens of each masked place, the likeliest first; throws where there is none.
  public func fillMask(_ text: String, top: Int) throws -> [[Guess]] {
    let (encoding, masks) = try masks(text)
    return try masks.map { place, probabilities in
      let best = probabilities.indices.sorted { (probabilities[$1], $0) < (probabilities[$0], $1) }.prefix(
        top)
      return try best.map { id in
        var ids = encoding.ids
        ids[place] = Int32(id)
        let kept = zip(ids, encoding.sources).filter { $0.1 != nil }.map(\.0)
        return Guess(
          id: Int32(id), piece: try tokenizer.decode([Int32(id)], skipSpecial: false),
          score: probabilities[id], text: try tokenizer.decode(kept, skipSpecial: false))
      }
    }
  }

  /// The probability of every token at each masked place, `[masks, vocabulary]`; throws where there is none.
  public func maskProbabilities(_ text: String) throws -> [[Double]] { try masks(text).places.map(\.1) }

  private func masks(_ text: String) throws -> (Encoding, places: [(place: Int, probabilities: [Double])]) {
    guard let mask else { throw ModelError("\(path): the model's files name no mask token") }
    let encoding = try encode(text)
    let places = encoding.ids.indices.filter { encoding.ids[$0] == mask }
    guard !places.isEmpty else {
      throw ModelError(
        "the text has no mask token; write \(try tokenizer.piece(of: mask)) where a word is to be guessed")
    }
    let backend = encoder.backend
    let hidden = try encoder.hidden(TokenBatch([encoding.ids]))
    let rows = try backend.gather(hidden, rows: backend.tensor(places.map { Int32($0) }, [places.count]))
    let scores = try encoder.scores(rows)
    let (values, columns) = (try backend.floats(scores), scores.columns)
    return (
      encoding,
      places.enumerated().map { ($1, softmax(values[$0 * columns..<($0 + 1) * columns])) }
    )
  }
}
