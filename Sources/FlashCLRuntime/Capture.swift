import COpenCL

/// Launches that were queued once and can be queued again as they are: the same kernels and arguments over the same memory.
///
/// They hold that memory, and belong to the queue that made them. Repeating spares all that led to them.
public final class CapturedLaunches {
  struct Launch {
    let kernel: Kernel  // its own, with its arguments set
    let global: [Int]
    let local: [Int]?
  }

  let list: [Launch]
  private let held: [Buffer]
  private let arena: BufferPool

  fileprivate init(_ list: [Launch], held: [Buffer], arena: BufferPool) {
    (self.list, self.held, self.arena) = (list, held, arena)
  }

  public var count: Int { list.count }
}

/// What `Queue.capture` gathers.
final class Capture {
  private var list: [CapturedLaunches.Launch] = []
  /// Memory from outside of the arena: weights, caches, inputs.
  private var held: [ObjectIdentifier: Buffer] = [:]
  private let arena: BufferPool
  private var isSpoilt = false

  init(arena: BufferPool) { self.arena = arena }

  func add(_ kernel: Kernel, _ global: [Int], _ local: [Int]?, _ arguments: [Argument]) throws(CLError) {
    if isSpoilt { return }
    let own = try kernel.copy()
    for (index, argument) in arguments.enumerated() {
      let code = Queue.set(own.raw, cl_uint(index), argument)
      try check(code, "clSetKernelArg", "argument \(index) of \(kernel.name)")
      guard case .buffer(let buffer) = argument, buffer.pool !== arena else { continue }
      held[ObjectIdentifier(buffer)] = buffer
    }
    list.append(.init(kernel: own, global: global, local: local))
  }

  /// Says that something else than a launch was queued.
  func spoil() {
    isSpoilt = true
    list = []
  }

  /// Nil where they are not all that happened.
  var launches: CapturedLaunches? {
    isSpoilt ? nil : CapturedLaunches(list, held: Array(held.values), arena: arena)
  }
}
