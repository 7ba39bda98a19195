import COpenCL

/// Memory on a queue's device; goes back to the queue's pool when the last reference is dropped.
///
/// That is safe while kernels still use it: the queue is in order, so whoever gets the memory next comes after them.
public final class Buffer {
  /// The size that was asked for, in bytes.
  public let byteCount: Int
  /// The handle, for libraries that take one.
  package let raw: OpaquePointer
  let pool: BufferPool

  init(_ raw: OpaquePointer, byteCount: Int, pool: BufferPool) {
    self.raw = raw
    self.byteCount = byteCount
    self.pool = pool
  }

  deinit { pool.give(raw, BufferPool.SizeClass(byteCount, limit: pool.largest)) }
}

/// Bytes that all pools of a queue hold on the device.
final class MemoryLedger {
  fileprivate(set) var inUse = 0
  fileprivate(set) var pooled = 0
  fileprivate(set) var peak = 0

  fileprivate func note() { peak = max(peak, inUse + pooled) }
  func resetPeak() { peak = inUse + pooled }
}

/// Free buffers by size class, and the count of what is really held on the device.
final class BufferPool {
  /// Powers of two in sixteen steps: at most 1/16 of a buffer is waste, and sizes that are close share buffers.
  struct SizeClass {
    let index, bytes: Int

    init(_ wanted: Int, limit: Int) {
      let last = max(wanted, 256) - 1
      let shift = Int.bitWidth - 1 - last.leadingZeroBitCount - 4
      let steps = (last >> shift) + 1  // 17...32
      index = shift * 16 + steps - 17
      bytes = min(steps << shift, max(limit, wanted))
    }
  }

  private let context: Context
  let largest: Int
  let ledger: MemoryLedger
  /// True where launches that will be repeated hold its buffers: none is let go while the pool lives.
  private let keepsAll: Bool
  /// True where buffers are counted and never made.
  private let isImagined: Bool
  private var free: [[cl_mem]] = Array(repeating: [], count: 60 * 16)
  private var (inUse, pooled) = (0, 0)
  /// The most that was in use since the pool was last emptied.
  private var mostInUse = 0

  init(
    _ context: Context, largest: Int, ledger: MemoryLedger = MemoryLedger(), keepsAll: Bool = false,
    isImagined: Bool = false
  ) {
    (self.context, self.largest) = (context, largest)
    (self.ledger, self.keepsAll, self.isImagined) = (ledger, keepsAll, isImagined)
  }

  /// A pool of the same context and ledger that keeps all it made.
  func arena() -> BufferPool {
    BufferPool(context, largest: largest, ledger: ledger, keepsAll: true, isImagined: isImagined)
  }

  deinit { empty() }

  /// A free buffer of this class or a new one; nil and the code when the device has no more.
  func take(_ size: SizeClass) -> (buffer: cl_mem?, code: cl_int) {
    var code: cl_int = 0
    var buffer = free[size.index].popLast()
    if buffer != nil {
      pooled -= size.bytes
      ledger.pooled -= size.bytes
    } else if isImagined {
      buffer = cl_mem(bitPattern: 1)
    } else {
      buffer = cl.clCreateBuffer(context.raw, cl_mem_flags(CL_MEM_READ_WRITE), size.bytes, nil, &code)
    }
    if buffer != nil {
      inUse += size.bytes
      ledger.inUse += size.bytes
      mostInUse = max(mostInUse, inUse)
    }
    ledger.note()
    return (buffer, code)
  }

  /// Keeps a buffer for reuse. Free memory beyond what was in use at once (or 64 MiB) is let go, all but this buffer: a run
  /// that is repeated finds all its buffers again, and what was not taken by then belongs to shapes of the past.
  func give(_ buffer: cl_mem, _ size: SizeClass) {
    inUse -= size.bytes
    ledger.inUse -= size.bytes
    if pooled + size.bytes > max(mostInUse, 64 << 20), !keepsAll { empty() }
    free[size.index].append(buffer)
    pooled += size.bytes
    ledger.pooled += size.bytes
  }

  func empty() {
    for index in free.indices where !free[index].isEmpty {
      if !isImagined { for buffer in free[index] { _ = cl.clReleaseMemObject(buffer) } }
      free[index].removeAll()
    }
    ledger.pooled -= pooled
    (pooled, mostInUse) = (0, inUse)
  }
}

/// An OpenCL context of one device, shared by a queue and the pool that may outlive it.
final class Context {
  let raw: cl_context

  init(_ device: Device) throws(CLError) {
    var code: cl_int = 0
    var id: cl_device_id? = device.id
    let context = cl.clCreateContext(nil, 1, &id, nil, nil, &code)
    try check(code, "clCreateContext", device.description)
    guard let context else { throw .call("clCreateContext", code: code, context: device.description) }
    raw = context
  }

  deinit { _ = cl.clReleaseContext(raw) }
}
