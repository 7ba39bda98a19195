import FlashCL
import FlashCLRuntime

extension OpenCLBackend: RehearsingBackend {
  public func imagined() -> (any RehearsingBackend)? {
    let twin = OpenCLBackend(queue.imagined())
    twin.launcher.traits = launcher.traits
    twin.weightPartLimit = weightPartLimit
    return twin
  }

  public var isImagined: Bool { queue.rehearsal != nil }
  public var heldBytes: Int { queue.bytesInUse }
  public var memoryBytes: Int { queue.device.globalMemory }

  public func unready(for rehearsal: any RehearsingBackend) -> Int {
    guard let rehearsal = (rehearsal as? OpenCLBackend)?.queue.rehearsal else { return 0 }
    // After a process ended during a first launch, programs are left to the run: what is suspected is tried alone there.
    return launcher.trials.hasSuspicions ? 0 : queue.unbuilt(of: rehearsal)
  }

  public func makeReady(for rehearsal: any RehearsingBackend, part: Int, of parts: Int, progress: () -> Void)
    throws
  {
    guard unready(for: rehearsal) > 0, let rehearsal = (rehearsal as? OpenCLBackend)?.queue.rehearsal else {
      return
    }
    try queue.build(
      rehearsal, part: part, of: parts, watched: launcher.trials.verdicts.key, progress: progress)
  }
}
