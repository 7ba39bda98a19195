import FlashCL
import FlashCLKernels
import FlashCLRuntime

/// An operation that has kernels; each host file in Operations/ makes one description conform.
protocol OpenCLOperation: Operation, SendableMetatype {
  /// The ways to compute it, in order of preference on this kind of device; the first that fits is taken.
  static func strategies(on traits: Traits) -> [Strategy<Self>]
  /// True when there is nothing to compute.
  var isEmpty: Bool { get }
  /// Numbers that `flashcl tune` may change.
  static var tunables: [Tunable] { get }
}

extension OpenCLOperation {
  static var tunables: [Tunable] { [] }
  var isEmpty: Bool { !outputs.isEmpty && outputs.allSatisfy { $0.count == 0 } }
}

/// One way to compute an operation: its precondition and its launch. The name is the kernel's, less the operation's.
struct Strategy<Description: Operation & SendableMetatype>: Sendable {
  let name: String
  /// Why this strategy cannot run the call; nil when it can.
  let unfit: @Sendable (Description, Traits) -> String?
  /// See `StrategyReport.rounding`.
  let rounding: @Sendable (Description) -> Rounding?
  let launch: @Sendable (Description, Launcher) throws -> Void

  init(
    _ name: String, unfit: @escaping @Sendable (Description, Traits) -> String? = { _, _ in nil },
    rounding: @escaping @Sendable (Description) -> Rounding? = { _ in nil },
    launch: @escaping @Sendable (Description, Launcher) throws -> Void
  ) {
    self.name = name
    self.unfit = unfit
    self.rounding = rounding
    self.launch = launch
  }
}

/// What the choice of a strategy may depend on: fixed per device, never a clock.
struct Traits: Sendable {
  /// An OpenCL CPU device wants one item per tile and float16 registers; everything else many small items.
  let isCPU: Bool
  let maxWorkGroup: Int
  let localMemory: Int  // bytes
  /// Floats in a register.
  var vectorWidth = 1
  /// The device's matrix unit, or the one whose emulation proves kernels here.
  var fragments = FragmentLayout(unit: .mma)
  var tuning = Tuning()

  /// Nil when a group of `items` with `bytes` of local memory can run here.
  func unfit(items: Int, localBytes bytes: Int = 0) -> String? {
    if items > maxWorkGroup { return "needs work-groups of \(items), the device has \(maxWorkGroup)" }
    if bytes > localMemory { return "needs \(bytes) B of local memory, the device has \(localMemory) B" }
    return nil
  }

  /// Strategies for any device come after those made for this kind of device.
  func order<O: Operation & SendableMetatype>(gpu: [Strategy<O>], cpu: [Strategy<O>], any: [Strategy<O>])
    -> [Strategy<O>]
  {
    (isCPU ? cpu + any + gpu : gpu + any + cpu)
  }
}

/// One argument of a kernel, or the few that a tensor needs.
enum Operand {
  /// Buffer and offset; null and 0 for nil.
  case tensor(Tensor?)
  /// Buffer, offset, and the strides of these axes.
  case view(Tensor, [Int])
  /// The view of a tensor [1, heads, rows, …] whose rows are those of several sequences: a stride of 0 from each to the next.
  case packed(Tensor)
  case buffer(Buffer?)
  case ulong(Int)
  case uint(Int)
  case int(Int)
  case float(Float)
  /// Local memory.
  case local(bytes: Int)
}

/// Text substituted before a kernel is compiled: sizes of heads, storage types, strategy parameters.
struct Defines: ExpressibleByDictionaryLiteral {
  var pairs: [(name: String, value: String)]
  var list: [Define] { pairs.map { Define($0.name, $0.value) } }

  init(dictionaryLiteral elements: (String, String)...) { pairs = elements.map { ($0, $1) } }

  static func + (a: Defines, b: Defines) -> Defines {
    var sum = a
    sum.pairs += b.pairs
    return sum
  }
}

/// Finds, builds and launches kernels by name, on one queue.
final class Launcher {
  let queue: Queue
  var traits: Traits
  /// What masks need on the device from call to call.
  let tables = MaskTables()
  /// Watches over the first launch of every program.
  let trials: Trials
  /// Linear layers that wait for the next.
  private(set) lazy var chain = LinearChain(self)
  /// Runs an operation that is a step of another, by its own best strategy.
  var compute: (any OpenCLOperation) throws -> Void = { _ in }
  /// True once the operation that runs has queued what it appends to a cache.
  var hasAppended = false
  private var zeros: Buffer?
  private var kernels: [String: Kernel] = [:]
  /// Names of all kernels that were launched.
  var launched: Set<String> { Set(kernels.values.map(\.name)) }

  init(_ queue: Queue) {
    self.queue = queue
    trials = Trials(queue)
    traits = Traits(
      isCPU: queue.device.kind == .cpu, maxWorkGroup: queue.device.maxWorkGroup,
      localMemory: queue.device.localMemory, vectorWidth: queue.device.vectorWidth,
      fragments: FragmentLayout(of: queue),
      tuning: .stored(for: queue.device))
  }

  /// Queues kernel `file_strategy` over `global` items, rounded up to whole groups where `local` is given; `terms` is text
  /// that the call puts after prelude.cl.
  func launch(
    _ name: String, in file: KernelFile, terms: String = "", _ defines: Defines = [:], global: [Int],
    local: [Int]? = nil,
    _ operands: [Operand]
  ) throws {
    try chain.flush()
    var arguments: [Argument] = []
    arguments.reserveCapacity(3 * operands.count)
    for operand in operands {
      switch operand {
      case .tensor(nil):
        arguments.append(.null)
        arguments.append(.long(0))
      case .tensor(let tensor?):
        arguments.append(.buffer(try tensor.buffer()))
        arguments.append(.long(Int64(tensor.offset)))
      case .view(let tensor, let axes):
        arguments.append(.buffer(try tensor.buffer()))
        arguments.append(.long(Int64(tensor.offset)))
        for axis in axes { arguments.append(.long(Int64(tensor.strides[axis]))) }
      case .packed(let tensor):
        arguments.append(.buffer(try tensor.buffer()))
        arguments.append(.long(Int64(tensor.offset)))
        arguments.append(.long(0))
        for axis in [1, 2] { arguments.append(.long(Int64(tensor.strides[axis]))) }
      case .buffer(let buffer): arguments.append(buffer.map { .buffer($0) } ?? .null)
      case .ulong(let value): arguments.append(.long(Int64(value)))
      case .uint(let value): arguments.append(.uint(UInt32(value)))
      case .int(let value): arguments.append(.int(Int32(value)))
      case .float(let value): arguments.append(.float(value))
      case .local(let bytes): arguments.append(.local(bytes: bytes))
      }
    }
    var rounded = global
    if let local {
      for axis in global.indices {
        rounded[axis] = (global[axis] + local[axis] - 1) / local[axis] * local[axis]
      }
    }
    let local = local ?? queue.groups(of: rounded)
    let isNoted = try queue.note(
      name, in: file.source(terms), defines: defines.list, global: rounded, local: local, arguments,
      trial: trials.trial(of: Self.key(name, terms, defines)))
    if isNoted { return }
    do {
      try queue.launch(kernel(name, file, terms, defines), global: rounded, local: local, arguments)
    } catch {
      trials.abandon()
      throw error
    }
    if trials.isBuilding { try trials.launched() }
  }

  /// So many words of 0, or more, for kernels that count in them and leave them 0 again.
  func counters(_ count: Int) throws -> Buffer {
    if let zeros, zeros.byteCount >= 4 * count { return zeros }
    let buffer = try queue.allocate(max(4 * count, 4096))
    try queue.fill(buffer)
    zeros = buffer
    return buffer
  }

  private static func key(_ name: String, _ terms: String, _ defines: Defines) -> String {
    var key = name
    for (define, value) in defines.pairs {
      key += " "
      key += define
      key += "="
      key += value
    }
    key += terms
    return key
  }

  private func kernel(_ name: String, _ file: KernelFile, _ terms: String, _ defines: Defines) throws
    -> Kernel
  {
    let key = Self.key(name, terms, defines)
    if let kernel = kernels[key] { return kernel }
    trials.begin(key)
    let kernel = try queue.kernel(name, in: file.source(terms), defines: defines.list)
    kernels[key] = kernel
    return kernel
  }
}

/// The kernel files, each with what is prepended to it.
struct KernelFile: Sendable {
  private let name: String
  private let prelude, rest: String
  private let plain: Source

  /// File `name`.cl after prelude.cl and the files of `including`.
  init(_ name: String, including: [String] = []) {
    self.name = name
    // One text, but each file keeps its own line numbers in build logs.
    func text(_ file: String) -> String { "#line 1 \"\(file).cl\"\n\(KernelFile.text("\(file).cl"))\n" }
    prelude = text("prelude")
    rest = (including + [name]).map(text).joined()
    plain = Source(name: "\(name).cl", text: prelude + rest)
  }

  /// The whole text, with `terms` after the prelude.
  func source(_ terms: String) -> Source {
    terms.isEmpty ? plain : Source(name: "\(name).cl", text: prelude + "#line 1 \"terms\"\n" + terms + rest)
  }

  /// Names of all embedded files, such as "layer_norm.cl".
  static var names: [String] {
    (0..<flashcl_kernel_file_count()).map { String(cString: flashcl_kernel_file_name($0)) }
  }

  private static func text(_ file: String) -> String {
    for index in 0..<flashcl_kernel_file_count()
    where String(cString: flashcl_kernel_file_name(index)) == file {
      return String(cString: flashcl_kernel_file_text(index))
    }
    preconditionFailure("Kernels/embed.c does not list \(file)")
  }
}
