/// What a program is tried for: the names under which verdicts and sentinels know it.
package struct Trial: Sendable, Hashable {
  package let subject, program: String

  package init(subject: String, program: String) { (self.subject, self.program) = (subject, program) }
}

/// What a run would launch, noted by a queue that is imagined: every program, with one launch of each kind of its kernels.
package final class Rehearsal {
  /// A launch with the sizes of its buffers in place of the buffers.
  struct Launch: Sendable {
    let kernel: String
    let global: [Int]
    let local: [Int]?
    let arguments: [Recording.Value]
    let buffers: [Int]  // bytes
    let trial: Trial?
  }

  struct Program: Sendable {
    let source: Source
    let defines: [Define]
    var launches: [Launch] = []
  }

  private struct Kind: Hashable {
    let kernel: String
    let program: Int
    let sizes: [Int]
  }

  private struct Key: Hashable {
    let source: Source
    let defines: [Define]
  }

  private(set) var programs: [Program] = []
  private var places: [Key: Int] = [:]
  private var kinds: Set<Kind> = []

  func note(
    _ kernel: String, _ source: Source, _ defines: [Define], global: [Int], local: [Int]?,
    _ arguments: [Argument], trial: Trial?
  ) {
    if global.contains(0) { return }
    let key = Key(source: source, defines: defines)
    let place = places[key] ?? programs.count
    if place == programs.count {
      places[key] = place
      programs.append(Program(source: source, defines: defines))
    }
    // Where the driver chooses groups, it goes by the items.
    let kind = Kind(kernel: kernel, program: place, sizes: local ?? [0] + global)
    guard kinds.insert(kind).inserted else { return }
    var numbers: [ObjectIdentifier: Int] = [:]
    var buffers: [Int] = []
    let values = arguments.map {
      Recording.Value($0) { buffer in
        let number = numbers[ObjectIdentifier(buffer)] ?? buffers.count
        if number == buffers.count {
          numbers[ObjectIdentifier(buffer)] = number
          buffers.append(buffer.byteCount)
        }
        return number
      }
    }
    programs[place].launches.append(
      Launch(
        kernel: kernel, global: global, local: local, arguments: values, buffers: buffers, trial: trial))
  }
}

extension Queue {
  /// How many programs of a rehearsal have no binary on disk; 0 where none can be kept there.
  package func unbuilt(of rehearsal: Rehearsal) -> Int {
    programs.isKeeping ? rehearsal.programs.count { !programs.isKept($0.source, $0.defines) } : 0
  }

  /// Builds those programs of a rehearsal whose binaries are not on disk, where this queue then finds them; `progress` is
  /// called after each.
  ///
  /// `part` of `parts`: several processes share the work, since drivers build one program of a process at a time (PoCL 3.1: two
  /// threads with a context each took as long as one). Where a driver compiles at a kernel's first launch, kernels are
  /// launched once, over zeros. The sentinel is told of each program in turn; what cannot be built is met again by the run
  /// itself, which says so, and is not built ahead again.
  package func build(
    _ rehearsal: Rehearsal, part: Int, of parts: Int, watched key: Fingerprint, progress: () -> Void
  ) throws(CLError) {
    // The longest first, so that parts end at about the same time; all are numbered, since others build meanwhile.
    let all = rehearsal.programs.sorted { $0.source.text.utf8.count > $1.source.text.utf8.count }
    let builder = try builder()
    for program in stride(from: part, to: all.count, by: parts).map({ all[$0] })
    where !programs.isKept(program.source, program.defines) {
      builder.build(program, watched: key)
      programs.noteAbsence(program.source, program.defines)
      progress()
    }
  }

  /// The most bytes that a launch over zeros may take.
  private static let trialBytes = 512 << 20

  private func build(_ program: Rehearsal.Program, watched key: Fingerprint) {
    let compilesAtLaunch = device.quirks.contains(.compilesAtLaunch)
    for launch in compilesAtLaunch ? program.launches[...] : program.launches.prefix(1) {
      if let trial = launch.trial { Sentinel.begin(key, trial.subject, trial.program) }
      defer { if let trial = launch.trial { Sentinel.settle(key, trial.program) } }
      guard let kernel = try? kernel(launch.kernel, in: program.source, defines: program.defines) else {
        return
      }
      guard compilesAtLaunch, launch.buffers.reduce(0, +) <= Self.trialBytes else { continue }
      try? self.launch(kernel, over: launch)
      trim()
    }
  }

  /// One launch whose buffers hold zeros: no token, no block and no length that a kernel finds there leads it astray.
  private func launch(_ kernel: Kernel, over launch: Rehearsal.Launch) throws {
    let buffers = try launch.buffers.map { bytes in
      let buffer = try allocate(bytes)
      if bytes > 0 { try fill(buffer) }
      return buffer
    }
    try self.launch(
      kernel, global: launch.global, local: launch.local,
      launch.arguments.map { $0.argument { buffers[$0] } })
    try finish()
  }
}

/// What an imagined queue reads.
func zero(_ bytes: UnsafeMutableRawBufferPointer) {
  _ = bytes.initializeMemory(as: UInt8.self, repeating: 0)
}
