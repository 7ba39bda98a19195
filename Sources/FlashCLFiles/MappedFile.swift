#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The bytes of a file, mapped read-only and read from disk as they are touched; unmapped in `deinit`.
///
/// The file must keep its length while it is mapped: touching a page that was cut off ends the process.
public final class MappedFile: @unchecked Sendable {
  // Unchecked because raw pointers are not Sendable; these bytes are never written.

  /// The path as the caller gave it.
  public let path: String
  /// The whole file, valid as long as this object lives. Swift may let go of an object after its last use, so
  /// hold it with `withExtendedLifetime` while its bytes are in use: `MappedFile(path).bytes.first` crashes.
  public let bytes: UnsafeRawBufferPointer

  /// Maps a regular file.
  ///
  /// - Throws: `FileError` if it is missing, a folder, empty, or may not be read.
  public init(_ path: String) throws {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw FileError(path, "cannot be opened: \(systemError())") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileError(path, "cannot be read: \(systemError())") }
    let kind = status.st_mode & S_IFMT
    if kind == S_IFDIR { throw FileError(path, "is a folder, expected a file") }
    if kind != S_IFREG { throw FileError(path, "is not a regular file") }
    if status.st_size == 0 { throw FileError(path, "is empty") }
    let count = Int(status.st_size)
    guard let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED else {
      throw FileError(path, "cannot be mapped (\(count) bytes): \(systemError())")
    }
    self.path = path
    bytes = UnsafeRawBufferPointer(start: start, count: count)
  }

  deinit {
    munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
  }

  /// A copy of all bytes, for small files.
  public func contents() -> [UInt8] { Array(bytes) }

  /// True if these are the first bytes.
  func starts(with magic: some Sequence<UInt8>) -> Bool { bytes.starts(with: magic) }

  /// Gives the memory of these bytes back to the system: call it once they are on the device.
  ///
  /// Nothing is lost. Pages at the border may hold neighbouring bytes; what is touched again is read from
  /// disk again. A range beyond the file is cut to it.
  public func release(_ range: Range<Int>) {
    let range = range.clamped(to: 0..<bytes.count)
    guard !range.isEmpty, let start = bytes.baseAddress else { return }
    let pageSize = sysconf(Int32(_SC_PAGESIZE))
    let first = range.lowerBound / pageSize * pageSize
    madvise(UnsafeMutableRawPointer(mutating: start + first), range.upperBound - first, MADV_DONTNEED)
  }
}

/// The words for the system call that has just failed.
func systemError() -> String { String(cString: strerror(errno)) }
