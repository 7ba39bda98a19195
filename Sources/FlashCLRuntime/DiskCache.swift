#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A folder of small files, each named by the fingerprint of everything that it depends on: built programs, verdicts.
///
/// A file is magic · format · payload length · checksum of (key, payload) · payload. A file that is damaged, cut short,
/// foreign or renamed is deleted and counts as absent: some drivers end the process on a binary that is not whole. A
/// folder that cannot be written, or a full disk, means no caching and nothing else.
package struct DiskCache: Sendable {
  /// Raised whenever the file layout or the way that programs are built changes.
  static let format: UInt64 = 1
  private static let magic: UInt64 = 0x304C_4348_5341_4C46  // "FLASHCL0"
  private static let headerSize = 40

  /// Nil switches the cache off.
  let folder: String?

  package init(folder: String?) { self.folder = folder }

  /// The folder `name` in `$FLASHCL_CACHE`, else in `$XDG_CACHE_HOME/flashcl`, else in `~/.cache/flashcl`;
  /// `FLASHCL_CACHE=none` switches the cache off.
  package static func standard(_ name: String) -> DiskCache {
    if let root = environment("FLASHCL_CACHE") {
      return DiskCache(folder: root == "none" ? nil : "\(root)/\(name)")
    }
    let root = environment("XDG_CACHE_HOME") ?? environment("HOME").map { $0 + "/.cache" }
    return DiskCache(folder: root.map { "\($0)/flashcl/\(name)" })
  }

  func path(of key: Fingerprint) -> String? { folder.map { "\($0)/\(key)" } }

  /// The payload stored under `key`; nil when there is none that is whole.
  package func load(_ key: Fingerprint) -> [UInt8]? {
    guard let path = path(of: key), let file = readFile(path) else { return nil }
    let payload = Array(file.dropFirst(DiskCache.headerSize))
    guard !payload.isEmpty, file.starts(with: DiskCache.header(key, payload)) else {
      unlink(path)
      return nil
    }
    return payload
  }

  /// True where something can be stored.
  var isWritable: Bool { folder.map(makeFolder) ?? false }

  /// True where something is stored under `key`, whole or not.
  func holds(_ key: Fingerprint) -> Bool { path(of: key).map { access($0, R_OK) == 0 } ?? false }

  /// Stores a payload, under a temporary name first: a reader sees a whole file or none.
  package func store(_ key: Fingerprint, _ payload: [UInt8]) {
    guard let folder, let path = path(of: key), !payload.isEmpty, makeFolder(folder) else { return }
    let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max)).tmp"
    let whole = writeFile(temporary, DiskCache.header(key, payload) + payload)
    if !whole || rename(temporary, path) != 0 { unlink(temporary) }
  }

  /// Removes what is stored under `key`; true for the one process that removed it.
  @discardableResult
  package func remove(_ key: Fingerprint) -> Bool {
    path(of: key).map { unlink($0) == 0 } ?? false
  }

  /// Every name in the folder that may be a key.
  func keys() -> [Fingerprint] {
    guard let folder, let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var keys: [Fingerprint] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if let key = Fingerprint(name) { keys.append(key) }
    }
    return keys
  }

  /// Runs `body` while no other process is in here: what is loaded, changed and stored again loses nobody's change.
  ///
  /// Where the folder cannot be written nothing is stored either, and `body` runs all the same.
  func exclusively<R>(_ body: () -> R) -> R {
    var lock: Int32 = -1
    // The file stays: were it removed, two processes could hold locks on two files of its name.
    if let folder, makeFolder(folder) { lock = open("\(folder)/lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600) }
    if lock >= 0 { flock(lock, LOCK_EX) }
    defer { if lock >= 0 { close(lock) } }
    return body()
  }

  private static func header(_ key: Fingerprint, _ payload: [UInt8]) -> [UInt8] {
    var sum = key
    payload.withUnsafeBytes { sum.combine($0) }
    var header: [UInt8] = []
    for word in [magic, format, UInt64(payload.count)] {
      withUnsafeBytes(of: word.littleEndian) { header += $0 }
    }
    withUnsafeBytes(of: sum.value.littleEndian) { header += $0 }
    return header
  }
}

/// A file's bytes, at most `limit`; nil when it cannot be read.
func readFile(_ path: String, limit: Int = 1 << 30) -> [UInt8]? {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return nil }
  defer { close(file) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while bytes.count < limit {
    let count = read(file, &chunk, min(chunk.count, limit - bytes.count))
    if count < 0 { return nil }
    if count == 0 { break }
    bytes += chunk[..<count]
  }
  return bytes
}

private func writeFile(_ path: String, _ bytes: [UInt8]) -> Bool {
  let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
  guard file >= 0 else { return false }
  var done = 0
  while done < bytes.count {
    let count = bytes[done...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    if count <= 0 { break }
    done += count
  }
  // Some file systems report a full disk only when the file is closed.
  return close(file) == 0 && done == bytes.count
}

/// Makes a folder and those above it; false when it is not there afterwards.
private func makeFolder(_ path: String) -> Bool {
  if access(path, W_OK) == 0 { return true }
  for end in path.indices where path[end] == "/" && end > path.startIndex {
    mkdir(String(path[..<end]), 0o700)
  }
  mkdir(path, 0o700)
  return access(path, W_OK) == 0
}
