import FlashCLModels

/// Sizes of a model's attention heads, and the orders of rows that follow from them.
struct HeadLayout {
  let heads: Int
  let keyHeads: Int
  /// Elements of a head; nil where nothing tells them.
  let size: Int?

  /// Checked against the rows of the tensor, which come from a file.
  private func fits(_ name: String, _ rows: Int, _ wanted: Int) throws {
    guard rows == wanted else {
      throw ModelError(
        "the tensor \(name) has \(rows) rows, which do not fit \(heads) heads and \(keyHeads) of keys")
    }
  }

  /// Rotary pairs of `rows` rows: neighbours in GGUF, half a head apart in folders.
  func pairs(ofKeys isKeys: Bool, _ rows: Int, toGGUF: Bool, of name: String) throws -> PlannedTensor.Rows {
    let count = isKeys ? keyHeads : heads
    let size = rows / count
    try fits(name, rows, count * size)
    guard size % 2 == 0 else {
      throw ModelError("the tensor \(name) has heads of \(size) rows, an odd number")
    }
    return { row in
      let (head, place) = (row / size * size, row % size)
      return toGGUF
        ? (0, head + place % 2 * (size / 2) + place / 2)
        : (0, head + place % (size / 2) * 2 + place / (size / 2))
    }
  }

  /// Queries, keys and values: group by group in folders, all of one after all of the other in GGUF.
  func grouped(_ rows: Int, toGGUF: Bool, of name: String) throws -> PlannedTensor.Rows {
    let perGroup = heads / keyHeads
    let size = rows / (heads + 2 * keyHeads)
    try fits(name, rows, keyHeads * (perGroup + 2) * size)
    return { row in
      if toGGUF {
        let (head, element) = (row / size, row % size)
        // Which of its group's heads it is: the queries, then the key, then the value.
        let (group, place) =
          head < heads
          ? (head / perGroup, head % perGroup)
          : ((head - heads) % keyHeads, perGroup + (head - heads) / keyHeads)
        return (0, (group * (perGroup + 2) + place) * size + element)
      }
      let (group, place, element) = (row / size / (perGroup + 2), row / size % (perGroup + 2), row % size)
      let head =
        place < perGroup ? group * perGroup + place : heads + (place - perGroup) * keyHeads + group
      return (0, head * size + element)
    }
  }
}
