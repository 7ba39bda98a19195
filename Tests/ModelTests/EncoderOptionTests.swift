import FlashCL
import FlashCLFiles
import FlashCLModels
import Foundation
import Testing

/// What only a caller of the library can say: orders of prediction, targets and memories of XLNet, global tokens of
/// Longformer, segments of Transformer-XL; against `transformers` (Fixtures/make_encoder_options.py and
/// make_transformer_xl.py).
@Suite struct EncoderOptionTests {
  private func sequences(_ name: String, _ file: String) throws -> [[Int32]] {
    var rest = try Fixtures.integers("encoders/\(name)/\(file).npy").elements[...]
    return try Fixtures.integers("encoders/\(name)/lengths.npy").elements.map { length in
      defer { rest = rest.dropFirst(Int(length)) }
      return Array(rest.prefix(Int(length)))
    }
  }

  private func truth(_ name: String) throws -> [Float] {
    try Fixtures.floats("encoder-options/\(name).npy").elements
  }

  /// Both streams, with and without memories of unequal lengths, all sequences in one call.
  @Test(arguments: Place.available)
  func xlNetPredictsInAnyOrder(place: Place) throws {
    let backend = try place.backend()
    let model = try #require(
      try loadEncoder(Fixtures.path("encoders/xlnet-masked"), on: backend) as? XLNet)
    let ids = try sequences("xlnet-masked", "batch")
    let segments = try sequences("xlnet-masked", "segments")
    var places = try Fixtures.integers("encoder-options/xlnet.orders.npy").elements.map { Int($0) }[...]
    let orders = ids.map { row in
      defer { places = places.dropFirst(row.count) }
      return [Int](places.prefix(row.count))
    }
    let last = try Fixtures.integers("encoder-options/xlnet.targets.npy").elements
    let targets = orders.indices.map { [Int](orders[$0].suffix(Int(last[2 * $0 + 1]))) }
    // A token sees those before it in the order.
    let hidden = orders.map { order -> [Bool] in
      var rank = order
      for (place, token) in order.enumerated() { rank[token] = place }
      return rank.flatMap { own in rank.map { $0 >= own } }
    }
    let first = TokenBatch(ids, segments: segments)
    let second = TokenBatch(ids.map { $0.reversed() }, segments: segments)
    let memory = try model.hidden(first, hidden: nil).memory
    #expect(memory.lengths == [8, 1, 8, 7])

    for (name, batch, memory) in [("xlnet.", first, nil), ("xlnet.next.", second, memory)] {
      let content = try model.hidden(batch, hidden: hidden, memory: memory)
      #expect(try distance(backend.floats(content.states), truth("\(name)content")) <= 1e-4)
      let query = try model.hidden(batch, hidden: hidden, targets: targets, memory: memory)
      #expect(query.states.shape == [9, 36])
      #expect(try distance(backend.floats(query.states), truth("\(name)query")) <= 1e-4)
      #expect(query.memory.lengths == [8, memory == nil ? 1 : 2, 8, memory == nil ? 7 : 8])
    }
    #expect(throws: ModelError("target 3 is outside its sequence of 2")) {
      try model.hidden(TokenBatch([[1, 2]]), hidden: nil, targets: [[3]])
    }
    #expect(throws: ModelError("permutation masks have [1] switches, expected [4]")) {
      try model.hidden(TokenBatch([[1, 2]]), hidden: [[true]])
    }
    #expect(throws: ModelError("a memory of 4 sequences in 2 layers does not belong to 1 sequences in 2")) {
      try model.hidden(TokenBatch([[1, 2]]), hidden: nil, memory: memory)
    }
  }

  /// Sequences with global tokens of their own, one without any.
  @Test(arguments: Place.available)
  func longformerSeesItsGlobalTokens(place: Place) throws {
    let backend = try place.backend()
    let model = try #require(
      try loadEncoder(Fixtures.path("encoders/longformer-token"), on: backend) as? Longformer)
    let batch = TokenBatch(try sequences("longformer-token", "batch"))
    let states = try model.hidden(batch, global: [[0, 5], [0], [19, 3, 4], []])
    #expect(try distance(backend.floats(states), truth("longformer")) <= 1e-4)
    #expect(throws: ModelError("global token 1 is outside its sequence of 1")) {
      try model.hidden(batch, global: [[], [1], [], []])
    }
  }

  /// Three segments, each with the memory of those before it: states, and log-probabilities of the adaptive softmax.
  @Test(arguments: ["adaptive", "plain"], Place.available)
  func transformerXLMovesBySegments(name: String, place: Place) throws {
    let backend = try place.backend()
    let model = try #require(
      try loadEncoder(Fixtures.path("transformer-xl/\(name)"), on: backend) as? TransformerXL)
    let batch = try Fixtures.integers("transformer-xl/\(name)/batch.npy")
    let hidden = try Fixtures.floats("transformer-xl/\(name)/hidden.npy").elements
    let scores = try Fixtures.floats("transformer-xl/\(name)/scores.npy").elements
    let (sequences, length) = (batch.shape[1], batch.shape[2])
    var memory: SegmentMemory?
    for segment in 0..<batch.shape[0] {
      let ids = (0..<sequences).map { row in
        [Int32](
          batch.elements[(segment * sequences + row) * length..<(segment * sequences + row + 1) * length])
      }
      let (states, next) = try model.hidden(TokenBatch(ids), memory: memory)
      func part(_ all: [Float]) -> ArraySlice<Float> {
        let count = all.count / batch.shape[0]
        return all[segment * count..<(segment + 1) * count]
      }
      #expect(try distance(backend.floats(states), part(hidden)) <= 1e-4)
      #expect(try distance(backend.floats(model.scores(states)), part(scores)) <= 1e-4)
      memory = next
    }
    #expect(memory?.lengths == [Int](repeating: model.memoryLength, count: sequences))
  }
}
