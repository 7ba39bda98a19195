import Foundation
import Testing

@testable import FlashCLRuntime

@Suite struct RehearsalTests {
  /// What a run of two programs does with a queue.
  private func run(on queue: Queue, items: Int = 4) throws -> [Float] {
    let x = try queue.allocate(4 * items)
    try queue.write([Float](repeating: 1, count: items), to: x)
    for factor in [1, 2, 1] {
      let arguments: [Argument] = [.buffer(x), .int(Int32(items)), .float(2)]
      let defines = [Define("FACTOR", factor)]
      let isNoted = try queue.note(
        "add", in: addSource, defines: defines, global: [items], local: [1], arguments,
        trial: Trial(subject: "add.\(factor)", program: "program \(factor)"))
      if isNoted { continue }
      try queue.launch(
        queue.kernel("add", in: addSource, defines: defines), global: [items], local: [1], arguments)
    }
    return try queue.read(x, count: items, as: Float(0))
  }

  @Test func anImaginedQueueCountsAndComputesNothing() throws {
    let queue = try makeQueue()
    let twin = queue.imagined()
    #expect(try run(on: twin) == [0, 0, 0, 0])
    let rehearsal = try #require(twin.rehearsal)
    #expect(rehearsal.programs.map(\.launches.count) == [1, 1])
    #expect(twin.buildStatistics.programs == 0 && queue.peakBytes == 0)
    #expect(try run(on: queue) == [9, 9, 9, 9])
    #expect(queue.peakBytes == twin.peakBytes && queue.peakBytes > 0)
    // It may count more than the device has.
    let most = try (0..<4000).map { _ in try twin.allocate(queue.device.maxAllocation) }
    #expect(twin.bytesInUse >= most.count * queue.device.maxAllocation)
  }

  @Test func programsAreBuiltAheadInParts() throws {
    let root = try TemporaryFolder()
    let queue = try makeQueue(cache: root.path)
    let twin = queue.imagined()
    _ = try run(on: twin)
    let rehearsal = try #require(twin.rehearsal)
    #expect(queue.unbuilt(of: rehearsal) == 2)
    var key = Fingerprint()
    key.combine(root.path)
    for part in 0...1 {
      var built = 0
      try queue.build(rehearsal, part: part, of: 2, watched: key) { built += 1 }
      #expect(built == 1 && queue.unbuilt(of: rehearsal) == 1 - part)
    }
    #expect(try run(on: queue) == [9, 9, 9, 9])
    #expect(queue.buildStatistics.programs == 2 && queue.buildStatistics.fromDisk == 2)
    try queue.build(rehearsal, part: 0, of: 1, watched: key) { Issue.record("they were there") }
    // Where nothing is kept, nothing is built ahead.
    let plain = try makeQueue()
    #expect(plain.unbuilt(of: rehearsal) == 0)
  }

  @Test func whatCannotBeBuiltIsLeftToTheRun() throws {
    let root = try TemporaryFolder()
    let queue = try makeQueue(cache: root.path)
    let twin = queue.imagined()
    let broken = Source(name: "broken.cl", text: "kernel void broken(global float *x) { x[0] = y; }")
    let buffer = try twin.allocate(4)
    #expect(try twin.note("broken", in: broken, defines: [], global: [1], local: nil, [.buffer(buffer)]))
    let rehearsal = try #require(twin.rehearsal)
    try queue.build(rehearsal, part: 0, of: 1, watched: Fingerprint()) {}
    // And is not tried ahead of every run.
    #expect(queue.unbuilt(of: rehearsal) == 0)
    #expect(throws: CLError.self) { try queue.kernel("broken", in: broken) }
  }
}
