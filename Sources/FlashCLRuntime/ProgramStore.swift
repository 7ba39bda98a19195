/// The programs of one queue, each built once, and their kernels; binaries are kept on disk for the next process.
final class ProgramStore {
  /// Programs that were made ready so far, the seconds that took, and how many came from disk.
  private(set) var statistics: (programs: Int, seconds: Double, fromDisk: Int) = (0, 0, 0)
  /// Called with one line after a program took more than half a second to build.
  var onSlowBuild: ((String) -> Void)?
  let cache: DiskCache
  /// False where a binary costs more than it spares this process.
  let keepsBinaries: Bool

  private let device: Device
  private let capabilities: Capabilities
  private let context: Context
  private var programs: [Key: Program] = [:]
  private var kernels: [KernelKey: Kernel] = [:]

  private struct Key: Hashable {
    let source: Source
    let defines: [Define]
  }

  private struct KernelKey: Hashable {
    let name: String
    let program: Key
  }

  init(
    _ device: Device, _ capabilities: Capabilities, in context: Context, cache: DiskCache,
    keepsBinaries: Bool
  ) {
    (self.device, self.capabilities, self.context) = (device, capabilities, context)
    (self.cache, self.keepsBinaries) = (cache, keepsBinaries)
  }

  func kernel(_ name: String, in source: Source, defines: [Define]) throws(CLError) -> Kernel {
    let program = Key(source: source, defines: defines)
    let key = KernelKey(name: name, program: program)
    if let kernel = kernels[key] { return kernel }
    let kernel = try Kernel(name, in: built(program), of: source, on: device)
    kernels[key] = kernel
    return kernel
  }

  private func built(_ key: Key) throws(CLError) -> Program {
    if let program = programs[key] { return program }
    let clock = ContinuousClock()
    let start = clock.now
    let (text, options, fingerprint) = try recipe(key)

    let program: Program
    let binary = cache.load(fingerprint)
    if let binary, let known = Program.loaded(binary, options: options, in: context, on: device) {
      program = known
      statistics.fromDisk += 1
    } else {
      cache.remove(fingerprint)
      program = try .compiled(text, name: key.source.name, options: options, in: context, on: device)
      if keepsBinaries && cache.folder != nil { cache.store(fingerprint, program.binary) }
    }

    let seconds = (clock.now - start) / .seconds(1)
    statistics.programs += 1
    statistics.seconds += seconds
    if seconds > 0.5 {
      onSlowBuild?("built \(key.source.name) for \(device.name) in \((seconds * 10).rounded() / 10) s")
    }
    programs[key] = program
    return program
  }

  /// What a program is made of, and the name of its binary on disk.
  private func recipe(_ key: Key) throws(CLError) -> (
    text: String, options: String, fingerprint: Fingerprint
  ) {
    for define in key.defines where define.description.unicodeScalars.contains("\n") {
      throw .refused("\(key.source.name): the define \(define.name) holds a line break")
    }
    let text = capabilities.preamble(for: device) + key.defines.map { "\($0)\n" }.joined() + key.source.text
    // Never -cl-finite-math-only or what implies it: masks are infinities.
    let options = "-cl-std=" + capabilities.language
    var fingerprint = Fingerprint()
    for part in device.identity + ["\(DiskCache.format)", options, text] { fingerprint.combine(part) }
    return (text, options, fingerprint)
  }

  /// True where programs can be kept on disk.
  var isKeeping: Bool { cache.isWritable }

  /// True where a binary of the program is on disk, or was asked for ahead of a run and not to be had.
  func isKept(_ source: Source, _ defines: [Define]) -> Bool {
    guard let key = try? recipe(Key(source: source, defines: defines)).fingerprint else { return true }
    return cache.holds(key) || cache.holds(Self.absence(of: key))
  }

  /// Remembers that the driver gives no binary of the program, where it has given none.
  func noteAbsence(_ source: Source, _ defines: [Define]) {
    guard let key = try? recipe(Key(source: source, defines: defines)).fingerprint,
      !cache.holds(key)
    else { return }
    cache.store(Self.absence(of: key), Array("no binary".utf8))
  }

  private static func absence(of key: Fingerprint) -> Fingerprint {
    var other = key
    other.combine("no binary")
    return other
  }
}
