import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What this process tries on devices for the first time, in a file that stays behind when trying ends the process.
///
/// A driver may crash while it compiles or runs a kernel, and no process can report its own death. So before a program is
/// built its name goes into the process's sentinel file, and is taken out again when its first launch has finished: at
/// the next read or wait, which come anyway. The next process that finds the file of a dead one counts a suspicion
/// against what was being built there, or else against all that had been launched; at the second the strategy is left
/// out. A file is removed at a normal exit, and by `removeOnSignals` when a person ends the command: such a process did
/// not die of what it tried.
public enum Sentinel {
  private struct Trial {
    let key: Fingerprint  // of the verdicts
    let subject, trial: String
    var isBuilding: Bool
  }

  private struct State {
    var trials: [Trial] = []
    var isOff = false
    let process = ProcessMark.own
    let cache = DiskCache.standard("verdicts/trying")
  }

  private static let state = Mutex(State())

  /// The file's path, which also a signal handler may read: set once, before the file is first written.
  nonisolated(unsafe) private static var path: UnsafeMutablePointer<CChar>?

  // MARK: - Trying

  /// Leaves word that a program of `subject` is about to be built.
  package static func begin(_ key: Fingerprint, _ subject: String, _ trial: String) {
    state.withLock { state in
      state.trials.append(Trial(key: key, subject: subject, trial: trial, isBuilding: true))
      write(state)
    }
  }

  /// Says that it was built and launched: from now on the launch alone is in doubt.
  package static func launched(_ key: Fingerprint, _ subject: String, _ trial: String) {
    state.withLock { state in
      for index in state.trials.indices where state.trials[index].subject == subject {
        let same = state.trials[index].trial == trial && state.trials[index].key == key
        if same { state.trials[index].isBuilding = false }
      }
      write(state)
    }
  }

  /// Takes back one trial, or all under `key`: the launches have finished, or failed with an error that was thrown.
  package static func settle(_ key: Fingerprint, _ trial: String? = nil) {
    state.withLock { state in
      state.trials.removeAll { $0.key == key && (trial == nil || $0.trial == trial) }
      write(state)
    }
  }

  /// Leaves no files from now on: for a process whose parent sees how it ends.
  public static func switchOff() { state.withLock { $0.isOff = true } }

  private static func write(_ state: State) {
    guard !state.isOff, let file = state.cache.path(of: state.process.key) else { return }
    guard !state.trials.isEmpty else {
      state.cache.remove(state.process.key)
      return
    }
    if path == nil {
      path = strdup(file)
      atexit { Sentinel.removeFile() }
    }
    let lines = state.trials.map {
      "\($0.key)\t\($0.subject)\t\($0.trial)\t\($0.isBuilding ? "building" : "launched")"
    }
    let text = ([state.process.line] + lines).joined(separator: "\n")
    state.cache.store(state.process.key, Array(text.utf8))
  }

  // MARK: - Leaving

  /// Removes the file when one of these signals ends the process, which then ends by that signal as it would have.
  ///
  /// For a program that owns its process; signals that are ignored stay so.
  public static func removeOnSignals(_ signals: [Int32] = [SIGINT, SIGTERM, SIGHUP]) {
    for number in signals {
      let before = signal(number) { number in
        Sentinel.removeFile()
        _ = signal(number, SIG_DFL)
        raise(number)
      }
      if unsafeBitCast(before, to: Int.self) == 1 { _ = signal(number, SIG_IGN) }  // SIG_IGN is 1
    }
  }

  private static func removeFile() {
    if let path { unlink(path) }
  }

  // MARK: - What others left

  /// Counts a suspicion for every dead process that left a file, and removes the file.
  static func collect(into verdicts: DiskCache) {
    let cache = DiskCache(folder: verdicts.folder.map { $0 + "/trying" })
    for file in cache.keys() {
      guard let bytes = cache.load(file) else { continue }
      let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
      guard let mark = lines.first.flatMap(ProcessMark.init(line:)), mark.isDead else { continue }
      guard cache.remove(file) else { continue }  // another process counts it
      let trials = lines.dropFirst().map { $0.split(separator: "\t").map(String.init) }.filter {
        $0.count == 4
      }
      let building = trials.filter { $0[3] == "building" }
      for trial in building.isEmpty ? trials : building {
        guard let key = Fingerprint(trial[0]) else { continue }
        var found = Verdicts(uncollected: key, cache: verdicts)
        let doing = building.isEmpty ? "after its first launch" : "while it was being built"
        found.suspect(trial[1], trial[2], "a process ended \(doing)")
      }
    }
  }
}

/// A process, told from later ones of its number, from those before a restart, and from those of other machines.
struct ProcessMark: Equatable {
  /// Where numbers of processes mean something: the machine's name and the name space of processes.
  let place: String
  let boot: String
  let number: Int32
  let start: String  // in clock ticks since the boot

  static let own = ProcessMark(
    place: ownPlace, boot: ownBoot, number: getpid(), start: startTime(of: getpid()) ?? "")

  var line: String { "\(place)\t\(boot)\t\(number)\t\(start)" }

  var key: Fingerprint {
    var key = Fingerprint()
    key.combine(line)
    return key
  }

  init(place: String, boot: String, number: Int32, start: String) {
    (self.place, self.boot, self.number, self.start) = (place, boot, number, start)
  }

  init?(line: String) {
    let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    guard fields.count == 4, let number = Int32(fields[2]) else { return nil }
    self.init(place: fields[0], boot: fields[1], number: number, start: fields[3])
  }

  /// False also where nothing can be known: on another machine, in another name space.
  var isDead: Bool {
    guard place == ProcessMark.ownPlace else { return false }
    return boot != ProcessMark.ownBoot || ProcessMark.startTime(of: number) != start
  }

  private static let ownPlace: String = {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    var space = [CChar](repeating: 0, count: 64)
    readlink("/proc/self/ns/pid", &space, space.count - 1)
    return [name, space].map {
      String(decoding: $0.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
    .joined(separator: " ")
  }()

  private static let ownBoot: String = {
    let text = readFile("/proc/sys/kernel/random/boot_id", limit: 64) ?? []
    return String(decoding: text.prefix { $0 > 0x20 }, as: UTF8.self)
  }()

  /// Field 22 of /proc/…/stat; the name of the program, field 2 in parentheses, may hold spaces and parentheses itself.
  private static func startTime(of number: Int32) -> String? {
    guard let text = readFile("/proc/\(number)/stat", limit: 4096), let end = text.lastIndex(of: 0x29) else {
      return nil
    }
    let fields = text[(end + 1)...].split(separator: 0x20)
    return fields.count > 19 ? String(decoding: fields[19], as: UTF8.self) : nil
  }
}
