import COpenCL

/// One argument of a kernel, in the order of its parameters.
public enum Argument {
  case buffer(Buffer)
  case int(Int32)
  case uint(UInt32)
  case long(Int64)
  case float(Float)
  /// Local memory of this size, for a `local` pointer.
  case local(bytes: Int)
  /// A null pointer, for a `global` pointer that the kernel does not use.
  case null
}

/// One in-order queue of a device, with its context, its memory pool and its programs.
///
/// It belongs to one task at a time, and so do the buffers and kernels that it makes. Nothing waits but `read`,
/// `finish` and `profile`; a device error surfaces there and names the last launches.
public final class Queue {
  public let device: Device
  /// What every program of this queue is built for.
  public let capabilities: Capabilities

  private let context: Context
  let raw: cl_command_queue
  var pool: BufferPool
  let programs: ProgramStore
  private let profiling: Bool
  private var recent: [Kernel?] = Array(repeating: nil, count: 4)
  /// Kernels that were queued so far.
  public private(set) var launches = 0
  private var events: [cl_event]?  // collected while `profile` runs
  var recorder: Recorder?  // filled while `record` runs
  var capturing: Capture?  // filled while `capture` runs
  /// What would have been launched, where this queue is imagined.
  package let rehearsal: Rehearsal?

  /// A queue on `device`; with `profiling` every launch can be timed, at a small price.
  public convenience init(_ device: Device, profiling: Bool = false) throws(CLError) {
    try self.init(
      device, profiling: profiling, capabilities: device.capabilities(), cache: .standard("programs"),
      keepsBinaries: !device.quirks.contains(.slowBinaries))
  }

  init(
    _ device: Device, profiling: Bool = false, capabilities: Capabilities, cache: DiskCache,
    keepsBinaries: Bool = true
  ) throws(CLError) {
    self.device = device
    self.profiling = profiling
    self.capabilities = capabilities
    rehearsal = nil
    context = try Context(device)
    programs = ProgramStore(
      device, capabilities, in: context, cache: cache, keepsBinaries: keepsBinaries)
    pool = BufferPool(context, largest: device.maxAllocation)
    var code: cl_int = 0
    let properties = cl_command_queue_properties(profiling ? CL_QUEUE_PROFILING_ENABLE : 0)
    let queue = cl.clCreateCommandQueue(context.raw, device.id, properties, &code)
    try check(code, "clCreateCommandQueue", device.description)
    guard let queue else { throw .call("clCreateCommandQueue", code: code, context: device.description) }
    raw = queue
  }

  private init(imagining other: Queue) {
    (device, capabilities, profiling) = (other.device, other.capabilities, false)
    (context, raw) = (other.context, other.raw)
    programs = ProgramStore(
      device, capabilities, in: context, cache: other.programs.cache,
      keepsBinaries: other.programs.keepsBinaries)
    pool = BufferPool(context, largest: device.maxAllocation, isImagined: true)
    rehearsal = Rehearsal()
  }

  /// A queue that takes no memory and launches nothing: it counts the bytes that this one would hold, notes what this one
  /// would launch in its `rehearsal`, and reads nothing but zeros.
  package func imagined() -> Queue { Queue(imagining: self) }

  deinit {
    if rehearsal != nil { return }  // the queue is another's
    _ = cl.clFinish(raw)
    _ = cl.clReleaseCommandQueue(raw)
  }

  // MARK: Programs

  /// Called with one line after a program took more than half a second to build.
  public var onSlowBuild: ((String) -> Void)? {
    get { programs.onSlowBuild }
    set { programs.onSlowBuild = newValue }
  }
  /// Programs that were made ready so far, the seconds that took, and how many came from disk.
  public var buildStatistics: (programs: Int, seconds: Double, fromDisk: Int) { programs.statistics }

  /// The kernel `name` of a program, built for these defines.
  ///
  /// A program is built at most once per queue; a binary from an earlier process spares the compiler. Throws
  /// `CLError.build` with file, line and the first errors when the source does not compile.
  public func kernel(_ name: String, in source: Source, defines: [Define] = []) throws(CLError) -> Kernel {
    try programs.kernel(name, in: source, defines: defines)
  }

  /// A kernel of a module in the device's own language, such as PTX; throws `CLError.refused` where the driver does not take it.
  ///
  /// Not every driver refuses what it cannot read: some end the process.
  func kernel(_ name: String, ofModule text: String) throws(CLError) -> Kernel {
    guard let program = Program.loaded(Array(text.utf8), options: "", in: context, on: device) else {
      throw .refused("\(device.name) does not take a module with \(name) for a program's binary")
    }
    return try Kernel(name, in: program, of: Source(name: "a module", text: text), on: device)
  }

  /// A queue on the same device with a context and a pool of its own, which keeps the binaries of all that it builds.
  func builder() throws(CLError) -> Queue {
    try Queue(device, capabilities: capabilities, cache: programs.cache)
  }

  // MARK: Launches

  /// Queues a kernel: `global` items in groups of `local` (the driver's choice when nil), one to three sides each.
  ///
  /// Nothing is launched when a side of `global` is 0. Throws at once for a wrong count or type of arguments and for
  /// sizes that the device refuses; what goes wrong inside the kernel is thrown by the next `read` or `finish`.
  public func launch(
    _ kernel: Kernel, global: [Int], local: [Int]? = nil, _ arguments: [Argument]
  ) throws(CLError) {
    guard arguments.count == kernel.argumentCount else {
      throw .refused("\(kernel.name) takes \(kernel.argumentCount) arguments, \(arguments.count) were given")
    }
    guard 1...3 ~= global.count, local == nil || local?.count == global.count, global.allSatisfy({ $0 >= 0 })
    else {
      throw .refused("\(kernel.name): global \(global) and local \(local ?? []) do not fit together")
    }
    for index in arguments.indices {
      let code = Queue.set(kernel.raw, cl_uint(truncatingIfNeeded: index), arguments[index])
      try check(code, "clSetKernelArg", "argument \(index) of \(kernel.name)")
    }
    if global.contains(0) { return }
    try capturing?.add(kernel, global, local, arguments)
    try queue(kernel, global, local)
  }

  /// Queues a kernel whose arguments are set.
  private func queue(_ kernel: Kernel, _ global: [Int], _ local: [Int]?) throws(CLError) {
    recent[launches & 3] = kernel
    launches += 1
    var event: cl_event?
    let timed = events != nil
    try enqueue("clEnqueueNDRangeKernel", "\(kernel.name), global \(global), local \(local ?? [])") {
      withUnsafeMutablePointer(to: &event) { event in
        cl.clEnqueueNDRangeKernel(
          raw, kernel.raw, cl_uint(global.count), nil, global, local, 0, nil, timed ? event : nil)
      }
    }
    if let event { events?.append(event) }
  }

  /// Runs `body` and keeps the launches that it queues, with memory of their own, so that they can be repeated.
  ///
  /// The launches are nil where they are not all that `body` does: it writes, copies or reads back as well. Whatever memory
  /// it was given must hold the next inputs when they are repeated, and has the next results after that.
  public func capture<R>(_ body: () throws -> R) throws -> (result: R, launches: CapturedLaunches?) {
    guard capturing == nil, recorder == nil else { return (try body(), nil) }
    let outer = pool
    pool = pool.arena()
    let capture = Capture(arena: pool)
    capturing = capture
    defer { (pool, capturing) = (outer, nil) }
    let result = try body()
    return (result, capture.launches)
  }

  /// Queues captured launches once more.
  public func repeating(_ launches: CapturedLaunches) throws(CLError) {
    for launch in launches.list { try queue(launch.kernel, launch.global, launch.local) }
  }

  @inline(__always)
  static func set(_ kernel: cl_kernel, _ index: cl_uint, _ argument: Argument) -> cl_int {
    switch argument {
    case .buffer(let buffer):
      var handle: cl_mem? = buffer.raw
      return cl.clSetKernelArg(kernel, index, MemoryLayout<cl_mem?>.size, &handle)
    case .int(var value): return cl.clSetKernelArg(kernel, index, 4, &value)
    case .uint(var value): return cl.clSetKernelArg(kernel, index, 4, &value)
    case .long(var value): return cl.clSetKernelArg(kernel, index, 8, &value)
    case .float(var value): return cl.clSetKernelArg(kernel, index, 4, &value)
    case .local(let bytes): return cl.clSetKernelArg(kernel, index, bytes, nil)
    case .null:
      var handle: cl_mem?
      return cl.clSetKernelArg(kernel, index, MemoryLayout<cl_mem?>.size, &handle)
    }
  }

  /// The groups of a launch that names none: nil where the driver may choose.
  ///
  /// A driver that compiles for each size of groups would choose other ones for every length of a prompt (PoCL: 0.5 s for the
  /// first prompt of each length). The first side is a size of the model where there are several, and else halved until it
  /// divides, so that sizes are few.
  package func groups(of global: [Int]) -> [Int]? {
    guard device.quirks.contains(.compilesAtLaunch), let side = global.first, side > 0 else { return nil }
    let sizes = global.count > 1 ? Array(1...min(side, 256)) : [1, 2, 4, 8, 16, 32, 64]
    return [sizes.last { side % $0 == 0 } ?? 1] + global.dropFirst().map { _ in 1 }
  }

  /// Hands everything queued so far to the device, without waiting.
  public func flush() throws(CLError) { try check(cl.clFlush(raw), "clFlush") }

  /// Waits for everything queued so far; throws what went wrong in it.
  public func finish() throws(CLError) {
    capturing?.spoil()
    try check(cl.clFinish(raw), "clFinish", "the queue\(afterLaunches)")
  }

  /// Runs `body`, waits, and sums the device's own times (end − start) of the launches that it queued.
  ///
  /// Needs a queue made with `profiling: true`. Launches made by other libraries through the raw queue are not counted.
  public func profile<R>(_ body: () throws -> R) throws -> (R, deviceSeconds: Double, launches: Int) {
    guard profiling else { throw CLError.refused("profile needs a queue made with profiling: true") }
    guard events == nil else { throw CLError.refused("profile cannot be nested") }
    events = []
    defer {
      for event in events ?? [] { _ = cl.clReleaseEvent(event) }
      events = nil
    }
    let result = try body()
    try finish()
    var nanoseconds: cl_ulong = 0
    for event in events ?? [] {
      var start: cl_ulong = 0
      var end: cl_ulong = 0
      let first = cl.clGetEventProfilingInfo(
        event, cl_profiling_info(CL_PROFILING_COMMAND_START), 8, &start, nil)
      try check(first, "clGetEventProfilingInfo", "the queue\(afterLaunches)")
      let second = cl.clGetEventProfilingInfo(
        event, cl_profiling_info(CL_PROFILING_COMMAND_END), 8, &end, nil)
      try check(second, "clGetEventProfilingInfo", "the queue\(afterLaunches)")
      nanoseconds += end > start ? end - start : 0
    }
    return (result, Double(nanoseconds) * 1e-9, events?.count ?? 0)
  }

  /// Lends the raw queue to a library that enqueues by itself.
  package func withRawQueue<R>(_ body: (OpaquePointer) throws -> R) rethrows -> R { try body(raw) }

  /// Some drivers place buffers only when a command needs them: when that fails, free memory is let go and the command
  /// tried once more.
  @inline(__always)
  func enqueue(
    _ call: StaticString, _ context: @autoclosure () -> String, _ command: () -> cl_int
  ) throws(CLError) {
    var code = command()
    if code == CL_MEM_OBJECT_ALLOCATION_FAILURE {
      trim()
      code = command()
    }
    try check(code, call, context())
  }

  /// " after a, b": the last launches, oldest first, for the message of a late error.
  var afterLaunches: String {
    let names = (max(0, launches - recent.count)..<launches).compactMap {
      recent[$0 % recent.count]?.name
    }
    return names.isEmpty ? "" : " after " + names.joined(separator: ", ")
  }
}
