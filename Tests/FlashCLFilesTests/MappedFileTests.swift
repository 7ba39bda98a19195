import Foundation
import Testing

@testable import FlashCLFiles

@Suite struct MappedFileTests {
  @Test func bytesOfTheFile() throws {
    let folder = try TemporaryFolder()
    let content = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let file = try MappedFile(folder.write(content, as: "x"))
    #expect(file.contents() == content)
    // What was released is read again, whatever the range.
    for range in [
      0..<100_000, 5000..<5001, 4096..<8192, 99_999..<200_000, 100_000..<100_000, 300_000..<400_000,
    ] {
      file.release(range)
      #expect(file.contents() == content)
    }
  }

  #if os(Linux)
    @Test func releaseGivesMemoryBack() throws {
      let folder = try TemporaryFolder()
      let count = 1 << 20
      let file = try MappedFile(folder.write(repeatElement(7, count: count), as: "x"))
      #expect(file.contents().count == count)
      #expect(try residentKilobytes(file) == 1024)
      // From inside the first page to inside the last: both go as well.
      file.release(100..<(count - 100))
      #expect(try residentKilobytes(file) == 0)
    }

    /// What the kernel says of the mapping that starts where the file's bytes do.
    private func residentKilobytes(_ file: MappedFile) throws -> Int? {
      let start = String(UInt(bitPattern: file.bytes.baseAddress), radix: 16)
      // String(contentsOfFile:) would stop after the first page, the file's size being said to be 0.
      let smaps = try #require(try FileHandle(forReadingAtPath: "/proc/self/smaps")?.readToEnd())
      let lines = String(decoding: smaps, as: UTF8.self).split(separator: "\n")
      let mapping = lines.drop { !$0.hasPrefix("\(start)-") }
      return mapping.first { $0.hasPrefix("Rss:") }.flatMap { Int($0.split(separator: " ")[1]) }
    }
  #endif

  @Test func refusesWhatIsNoFile() throws {
    let folder = try TemporaryFolder()
    expectError(folder.file("none"), "cannot be opened: No such file") { try MappedFile(folder.file("none")) }
    expectError(folder.path, "is a folder") { try MappedFile(folder.path) }
    try folder.write([], as: "empty")
    expectError(folder.file("empty"), "is empty") { try MappedFile(folder.file("empty")) }
    expectError("/dev/null", "not a regular file") { try MappedFile("/dev/null") }
    mkfifo(folder.file("pipe"), 0o600)
    expectError(folder.file("pipe"), "not a regular file") { try MappedFile(folder.file("pipe")) }
    try folder.write([1], as: "secret")
    chmod(folder.file("secret"), 0)
    // The superuser may read anything.
    if geteuid() != 0 {
      expectError(folder.file("secret"), "cannot be opened: Permission") {
        try MappedFile(folder.file("secret"))
      }
    }
  }
}
