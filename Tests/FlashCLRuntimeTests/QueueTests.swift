import Testing

@testable import FlashCLRuntime

@Suite struct MemoryTests {
  @Test func writesReadsFillsAndCopies() throws {
    let queue = try makeQueue()
    let a = try queue.allocate(40)
    let b = try queue.allocate(40)
    #expect(a.byteCount == 40)
    try queue.write((0..<10).map { Int32($0) }, to: a)
    try queue.fill(b, pattern: 0xffff_fffe)
    try queue.copy(from: a, at: 8, to: b, at: 4, bytes: 12)
    #expect(try queue.read(b, count: 10, as: Int32(0)) == [-2, 2, 3, 4, -2, -2, -2, -2, -2, -2])
    try queue.write([Int32(77)], to: b, at: 36)
    #expect(try queue.read(b, at: 32, count: 2, as: Int32(0)) == [-2, 77])
    try queue.fill(b, pattern: 0x0101_0101, at: 1, bytes: 2)
    #expect(try queue.read(b, count: 4, as: UInt8(0)) == [0xfe, 1, 1, 0xff])
  }

  @Test func nothingToDoIsNoError() throws {
    let queue = try makeQueue()
    let empty = try queue.allocate(0)
    try queue.write([Int32](), to: empty)
    #expect(try queue.read(empty, count: 0, as: UInt8(0)).isEmpty)
    try queue.fill(empty)
    try queue.copy(from: empty, to: empty, bytes: 0)
  }

  @Test(arguments: [(0, 41), (40, 1), (-4, 4), (41, 0), (4, -4), (Int.max, 1), (4, Int.max)])
  func rangesOutsideABufferAreRefused(_ offset: Int, _ bytes: Int) throws {
    let queue = try makeQueue()
    let buffer = try queue.allocate(40)
    let other = try queue.allocate(64)
    func refused(_ body: () throws -> Void) throws {
      let error = try #require(throws: CLError.self) { try body() }
      #expect(error.description.contains("buffer of 40 bytes"), "\(error)")
    }
    try refused { try queue.fill(buffer, at: offset, bytes: bytes) }
    try refused { try queue.copy(from: buffer, at: offset, to: other, bytes: bytes) }
    if 0...64 ~= bytes {
      try refused { try queue.copy(from: other, at: 0, to: buffer, at: offset, bytes: bytes) }
      let host = [UInt8](repeating: 0, count: bytes)
      try refused { try queue.write(host, to: buffer, at: offset) }
      try refused { _ = try queue.read(buffer, at: offset, count: bytes, as: UInt8(0)) }
    }
  }

  @Test func wordsDoNotFillHalves() throws {
    let queue = try makeQueue()
    let buffer = try queue.allocate(8)
    #expect(throws: CLError.self) { try queue.fill(buffer, pattern: 1, bytes: 6) }
  }

  @Test func tooLargeNamesBothNumbers() throws {
    let queue = try makeQueue()
    let limit = queue.device.maxAllocation
    for bytes in [limit + 1, Int.max, -1] {
      let error = try #require(throws: CLError.self) { try queue.allocate(bytes) }
      #expect(error.description.contains("\(bytes)") && error.description.contains("\(limit)"))
    }
    #expect(queue.bytesInUse == 0 && queue.peakBytes == 0)
  }

  @Test func buffersComeBackFromThePool() throws {
    let queue = try makeQueue()
    var first: Buffer? = try queue.allocate(1000)
    let handle = first?.raw
    let bytes = queue.bytesInUse
    #expect(bytes >= 1000 && bytes <= 1064)
    first = nil
    #expect(queue.bytesInUse == 0 && queue.pooledBytes == bytes && queue.peakBytes == bytes)
    let second = try queue.allocate(1020)  // the same size class
    #expect(second.raw == handle)
    #expect(queue.bytesInUse == bytes && queue.pooledBytes == 0 && queue.peakBytes == bytes)
    let third = try queue.allocate(5000)
    #expect(queue.peakBytes == queue.bytesInUse && third.raw != handle)
    withExtendedLifetime((second, third)) {}
  }

  @Test func thePoolDoesNotGrowWithoutEnd() throws {
    let queue = try makeQueue()
    for size in 1...80 { _ = try queue.allocate(size << 20) }
    #expect(queue.bytesInUse == 0)
    #expect(queue.pooledBytes <= 85 << 20)
    #expect(queue.peakBytes <= 170 << 20)
    queue.resetPeak()
    #expect(queue.peakBytes == queue.pooledBytes)
  }

  @Test func buffersMayOutliveTheirQueue() throws {
    var queue: Queue? = try makeQueue()
    let buffer = try queue?.allocate(100)
    queue = nil
    #expect(buffer?.byteCount == 100)
  }

  @Test func sizeClassesHoldWhatTheyPromise() {
    var last = 0
    for bytes in Array(0...5000) + (13..<62).flatMap({ [1 << $0 - 1, 1 << $0, 1 << $0 + 1] }) {
      let size = BufferPool.SizeClass(bytes, limit: Int.max)
      #expect(
        size.bytes >= bytes && size.bytes <= max(256, bytes + bytes / 16 + 1), "\(bytes) → \(size.bytes)")
      #expect(size.index >= 0 && size.index < 60 * 16)
      #expect(BufferPool.SizeClass(size.bytes, limit: Int.max).bytes == size.bytes)
      last = max(last, size.index)
    }
    #expect(BufferPool.SizeClass(1 << 30, limit: 1 << 30).bytes == 1 << 30)
    #expect(BufferPool.SizeClass((1 << 30) - 7, limit: (1 << 30) - 5).bytes == (1 << 30) - 5)
  }
}

@Suite struct LaunchTests {
  @Test func launchesWithDefines() throws {
    let queue = try makeQueue()
    let x = try queue.allocate(40)
    try queue.write((0..<10).map { Float($0) }, to: x)
    let twice = try queue.kernel("add", in: addSource, defines: [Define("FACTOR", "(1.0f + 1.0f)")])
    let thrice = try queue.kernel("add", in: addSource, defines: [Define("FACTOR", 3)])
    #expect(twice !== thrice)
    #expect(try queue.kernel("add", in: addSource, defines: [Define("FACTOR", 3)]) === thrice)
    try queue.launch(twice, global: [16], local: [8], [.buffer(x), .int(10), .float(0.5)])
    try queue.launch(thrice, global: [16], [.buffer(x), .int(9), .float(1)])
    try queue.flush()
    #expect(try queue.read(x, count: 10, as: Float(0)) == [4, 5, 6, 7, 8, 9, 10, 11, 12, 10])
    #expect(queue.buildStatistics.programs == 2 && queue.buildStatistics.fromDisk == 0)
  }

  @Test func everyKindOfArgumentArrives() throws {
    let queue = try makeQueue()
    let source = Source(
      name: "arguments.cl",
      text: """
        kernel void arguments(global long *out, int a, uint b, long c, float d, local int *e, global int *f) {
          e[0] = a;
          barrier(CLK_LOCAL_MEM_FENCE);
          out[0] = e[0]; out[1] = b; out[2] = c; out[3] = (long)(d * 2.0f); out[4] = f == 0;
        }
        """)
    let kernel = try queue.kernel("arguments", in: source)
    let out = try queue.allocate(40)
    let arguments: [Argument] = [
      .buffer(out), .int(-3), .uint(UInt32.max), .long(Int64.min + 1), .float(-1.5), .local(bytes: 64), .null,
    ]
    try queue.launch(kernel, global: [1], local: [1], arguments)
    #expect(
      try queue.read(out, count: 5, as: Int64(0)) == [-3, Int64(UInt32.max), Int64.min + 1, -3, 1])
  }

  @Test func wrongLaunchesAreRefusedInWords() throws {
    let queue = try makeQueue()
    let kernel = try queue.kernel("add", in: addSource, defines: [Define("FACTOR")])
    let x = try queue.allocate(4096)
    let good: [Argument] = [.buffer(x), .int(1), .float(1)]
    func message(_ body: () throws -> Void) throws -> String {
      try #require(throws: CLError.self) { try body() }.description
    }
    let fewer = try message { try queue.launch(kernel, global: [1], [.buffer(x), .int(1)]) }
    #expect(fewer == "add takes 3 arguments, 2 were given")
    let type = try message { try queue.launch(kernel, global: [1], [.buffer(x), .long(1), .float(1)]) }
    #expect(type.contains("argument 1 of add") && type.contains("CL_INVALID_ARG_SIZE"))
    let sides = try message { try queue.launch(kernel, global: [8, 8], local: [8], good) }
    #expect(sides.contains("add: global [8, 8] and local [8]"))
    for global in [[], [1, 1, 1, 1], [-1]] {
      _ = try message { try queue.launch(kernel, global: global, good) }
    }
    let huge = queue.device.maxWorkGroup * 2
    let large = try message { try queue.launch(kernel, global: [huge], local: [huge], good) }
    #expect(large.contains("clEnqueueNDRangeKernel failed with CL_INVALID_WORK_"))
    #expect(large.contains("add, global [\(huge)], local [\(huge)]") && !large.contains("\n"))
    // An empty grid is no work, and the queue still runs after all of this.
    try queue.launch(kernel, global: [0], local: [8], good)
    try queue.launch(kernel, global: [1], good)
    try queue.finish()
  }

  @Test func aFailedReadNamesTheLastLaunches() throws {
    let queue = try makeQueue()
    let kernel = try queue.kernel("add", in: addSource, defines: [Define("FACTOR")])
    let x = try queue.allocate(4)
    for _ in 0..<6 { try queue.launch(kernel, global: [1], [.buffer(x), .int(1), .float(1)]) }
    let foreign = try makeQueue().allocate(4)
    let error = try #require(throws: CLError.self) { _ = try queue.read(foreign, count: 1, as: Float(0)) }
    #expect(error.description.contains("clEnqueueReadBuffer failed with CL_INVALID_CONTEXT (-34)"))
    #expect(error.description.contains("after add, add, add, add"))
  }

  @Test func profileCountsLaunchesAndDeviceTime() throws {
    let queue = try makeQueue(profiling: true)
    let kernel = try queue.kernel("add", in: addSource, defines: [Define("FACTOR")])
    let n = 1 << 20
    let x = try queue.allocate(n * 4)
    try queue.fill(x)
    let run = {
      for _ in 0..<3 { try queue.launch(kernel, global: [n], [.buffer(x), .int(Int32(n)), .float(1)]) }
      return "done"
    }
    let (result, seconds, launches) = try queue.profile(run)
    #expect(result == "done" && launches == 3 && seconds > 0)
    #expect(try queue.profile {}.launches == 0)
    #expect(throws: CLError.self) { try queue.profile { _ = try queue.profile {} } }
    #expect(throws: CLError.self) { try makeQueue().profile {} }
    #expect(try queue.read(x, count: 2, as: Float(0)) == [3, 3])
  }
}
