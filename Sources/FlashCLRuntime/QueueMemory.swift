import COpenCL

// What a queue does with memory: buffers from its pool, and what is copied to them, from them and between them.

extension Queue {
  /// Bytes held by live buffers, rounded up to their size classes.
  public var bytesInUse: Int { pool.ledger.inUse }
  /// Bytes held free for the next buffers.
  public var pooledBytes: Int { pool.ledger.pooled }
  /// The most bytes ever held on the device at once, in use and pooled, since the last `resetPeak`.
  public var peakBytes: Int { pool.ledger.peak }
  public func resetPeak() { pool.ledger.resetPeak() }

  /// Lets go of the memory that is held free for the next buffers, once all work is done.
  public func trim() {
    if rehearsal == nil { _ = cl.clFinish(raw) }  // released buffers live on until their kernels have passed
    if capturing == nil { pool.empty() }
  }

  /// A buffer of at least `bytes` bytes with arbitrary contents.
  ///
  /// Throws when one buffer may not be that large on this device, and, after the pool was emptied, when memory is full.
  public func allocate(_ bytes: Int) throws(CLError) -> Buffer {
    guard bytes >= 0, bytes <= device.maxAllocation else {
      throw .refused(
        "a buffer of \(bytes) bytes was asked for, \(device.name) allows 0 to \(device.maxAllocation) bytes in one"
      )
    }
    let size = BufferPool.SizeClass(bytes, limit: pool.largest)
    var (buffer, code) = pool.take(size)
    if [CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY].contains(code) {
      trim()
      (buffer, code) = pool.take(size)
    }
    guard code == 0, let buffer else {
      let held = "\(bytes) bytes with \(bytesInUse) in use of \(device.globalMemory)"
      throw .call("clCreateBuffer", code: code, context: held)
    }
    return Buffer(buffer, byteCount: bytes, pool: pool)
  }

  /// Copies host memory into a buffer; the host memory may be reused when it returns.
  public func write(_ bytes: UnsafeRawBufferPointer, to buffer: Buffer, at offset: Int = 0) throws(CLError) {
    try requireRange("write", buffer, offset, bytes.count)
    guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
    capturing?.spoil()
    if rehearsal != nil { return }
    try enqueue("clEnqueueWriteBuffer", "\(bytes.count) bytes\(afterLaunches)") {
      cl.clEnqueueWriteBuffer(raw, buffer.raw, cl_bool(CL_TRUE), offset, bytes.count, start, 0, nil, nil)
    }
  }

  /// Waits for everything queued so far and copies a part of a buffer to host memory.
  ///
  /// An error of an earlier launch is thrown here, with the names of the last launches.
  public func read(
    _ buffer: Buffer, at offset: Int = 0, into bytes: UnsafeMutableRawBufferPointer
  ) throws(CLError) {
    try requireRange("read", buffer, offset, bytes.count)
    guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
    capturing?.spoil()
    if rehearsal != nil { return zero(bytes) }
    try enqueue("clEnqueueReadBuffer", "\(bytes.count) bytes\(afterLaunches)") {
      cl.clEnqueueReadBuffer(raw, buffer.raw, cl_bool(CL_TRUE), offset, bytes.count, start, 0, nil, nil)
    }
  }

  /// Fills a part of a buffer (to its end by default) with a word; parts that are not whole words need four equal bytes.
  public func fill(
    _ buffer: Buffer, pattern: UInt32 = 0, at offset: Int = 0, bytes: Int? = nil
  ) throws(CLError) {
    let bytes = bytes ?? buffer.byteCount - offset
    try requireRange("fill", buffer, offset, bytes)
    let words = (offset | bytes) % 4 == 0
    guard words || pattern == (pattern & 0xff) &* 0x0101_0101 else {
      throw .refused("fill: \(bytes) bytes at \(offset) are not whole words of 4 bytes")
    }
    guard bytes > 0 else { return }
    var word = pattern
    capturing?.spoil()
    if rehearsal != nil { return }
    try enqueue("clEnqueueFillBuffer", "\(bytes) bytes\(afterLaunches)") {
      cl.clEnqueueFillBuffer(raw, buffer.raw, &word, words ? 4 : 1, offset, bytes, 0, nil, nil)
    }
  }

  /// Copies between buffers on the device; within one buffer the two parts may not overlap.
  public func copy(
    from source: Buffer, at sourceOffset: Int = 0, to target: Buffer, at targetOffset: Int = 0, bytes: Int
  ) throws(CLError) {
    try requireRange("copy", source, sourceOffset, bytes)
    try requireRange("copy", target, targetOffset, bytes)
    guard bytes > 0 else { return }
    capturing?.spoil()
    if rehearsal != nil { return }
    try enqueue("clEnqueueCopyBuffer", "\(bytes) bytes\(afterLaunches)") {
      cl.clEnqueueCopyBuffer(raw, source.raw, target.raw, sourceOffset, targetOffset, bytes, 0, nil, nil)
    }
  }

  private func requireRange(_ what: StaticString, _ buffer: Buffer, _ offset: Int, _ bytes: Int)
    throws(CLError)
  {
    guard offset >= 0, bytes >= 0, offset <= buffer.byteCount, bytes <= buffer.byteCount - offset else {
      throw .refused("\(what): \(bytes) bytes at \(offset) lie outside a buffer of \(buffer.byteCount) bytes")
    }
  }
}
