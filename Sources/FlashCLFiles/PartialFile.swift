#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A file that is written piece by piece under a temporary name, and can be taken up where an earlier writer ended.
public final class PartialFile {
  public let path: String
  private let descriptor: Int32
  /// Bytes that are in the file: after `init` those that an earlier writer left.
  public private(set) var count: Int

  /// Opens the file, or makes it; without `resumes` it begins empty.
  ///
  /// - Throws: `FileError` if it cannot be written, or another process is writing it.
  public init(_ path: String, resumes: Bool) throws {
    self.path = path
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw FileError(path, "cannot be written: \(systemError())") }
    count = 0
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      throw FileError(path, "is being written by another process")
    }
    var status = stat()
    if fstat(descriptor, &status) == 0 { count = Int(status.st_size) }
    try cut(to: resumes ? count : 0)
  }

  deinit { close(descriptor) }

  /// Drops the bytes from `end` on.
  public func cut(to end: Int) throws {
    guard ftruncate(descriptor, off_t(end)) == 0, lseek(descriptor, off_t(end), SEEK_SET) >= 0 else {
      throw FileError(path, "cannot be written: \(systemError())")
    }
    count = end
  }

  public func append(_ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes
    while !rest.isEmpty {
      let written = write(descriptor, rest.baseAddress, rest.count)
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw FileError(path, "cannot be written: \(systemError())") }
      rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
    }
    count += bytes.count
  }

  public func append(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes(append) }

  /// Zeros up to byte `end`.
  public func pad(to end: Int) throws { try append([UInt8](repeating: 0, count: max(0, end - count))) }

  /// Bytes that are there already.
  public func read(_ range: Range<Int>) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    var done = 0
    while done < bytes.count {
      let got = bytes.withUnsafeMutableBytes {
        pread(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done, off_t(range.lowerBound + done))
      }
      if got < 0 && errno == EINTR { continue }
      guard got > 0 else { throw FileError(path, "cannot be read: \(got < 0 ? systemError() : "it is cut")") }
      done += got
    }
    return bytes
  }
}

/// Gives a complete file or folder its name in one step; an older file is replaced, an older folder only if it is empty.
public func moveIntoPlace(_ temporary: String, _ path: String) throws {
  guard rename(temporary, path) == 0 else { throw FileError(path, "cannot be written: \(systemError())") }
}
