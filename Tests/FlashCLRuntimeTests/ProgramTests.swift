import Glibc
import Testing

@testable import FlashCLRuntime

@Suite struct BuildTests {
  @Test func buildErrorsNameFileAndLine() throws {
    let queue = try makeQueue()
    let prelude = Source(name: "prelude.cl", text: "#define REAL float\n#define TWO 2\n")
    let source = Source(
      name: "broken.cl", text: "kernel void broken(global REAL *x) {\n  x[0] = undeclared;\n}\n",
      prelude: prelude)
    let error = try #require(throws: CLError.self) {
      try queue.kernel("broken", in: source, defines: [Define("A", 1)])
    }
    #expect(error.description.contains("broken.cl:2"), "\(error)")
    #expect(error.description.contains("undeclared"))
    #expect(!error.description.contains("\n"))
    let inPrelude = Source(
      name: "fine.cl", text: "", prelude: Source(name: "prelude.cl", text: "\n\nint x = ;\n"))
    let other = try #require(throws: CLError.self) { try queue.kernel("broken", in: inPrelude) }
    #expect(other.description.contains("prelude.cl:3"), "\(other)")
  }

  @Test func aMissingKernelIsNamed() throws {
    let error = try #require(throws: CLError.self) {
      try makeQueue().kernel("subtract", in: addSource, defines: [Define("FACTOR")])
    }
    #expect(
      error.description.contains("subtract in add.cl") && error.description.contains("CL_INVALID_KERNEL_NAME")
    )
  }

  @Test func definesMayBeExpressions() throws {
    let queue = try makeQueue()
    let source = Source(
      name: "score.cl", text: "kernel void score(global float *x) { x[0] = SCORE(x[0], 3); }")
    let define = Define("SCORE(s, i)", "(s) * 2.0f + (float)(i) /* \"quoted\", with commas */")
    let kernel = try queue.kernel("score", in: source, defines: [define])
    let x = try queue.allocate(4)
    try queue.write([Float(5)], to: x)
    try queue.launch(kernel, global: [1], [.buffer(x)])
    #expect(try queue.read(x, count: 1, as: Float(0)) == [13])
    #expect(throws: CLError.self) {
      try queue.kernel("score", in: source, defines: [Define("SCORE", "1\n#error")])
    }
  }

  @Test func theFirstErrorsAreTakenFromTheLog() {
    #expect(Program.firstErrors(in: "warning: a\r\n  x.cl:1: error: b\n\nnote: c\n") == ["x.cl:1: error: b"])
    #expect(Program.firstErrors(in: "one\ntwo\nthree\nfour") == ["one", "two", "three"])
    #expect(Program.firstErrors(in: " \n\n").isEmpty)
  }

  @Test func infinitiesSurviveTheCompiler() throws {
    let queue = try makeQueue()
    let source = Source(
      name: "infinity.cl",
      text: """
        kernel void infinity(global float *x) {
          x[0] = fmax(x[0], -INFINITY) - 1.0f; x[1] = isnan(x[1]) ? 1.0f : 0.0f; x[2] = exp(x[2]);
        }
        """)
    let x = try queue.allocate(12)
    try queue.write([-Float.infinity, .nan, -.infinity], to: x)
    try queue.launch(queue.kernel("infinity", in: source), global: [1], [.buffer(x)])
    #expect(try queue.read(x, count: 3, as: Float(0)) == [-.infinity, 1, 0])
  }
}

@Suite struct DiskCacheTests {
  /// Builds, runs and returns how many programs came from disk.
  private func useCache(_ folder: String?, factor: Int = 1) throws -> Int {
    let queue = try makeQueue(cache: folder)
    let kernel = try queue.kernel("add", in: addSource, defines: [Define("FACTOR", factor)])
    let x = try queue.allocate(4)
    try queue.write([Float(1)], to: x)
    try queue.launch(kernel, global: [1], [.buffer(x), .int(1), .float(2)])
    #expect(try queue.read(x, count: 1, as: Float(0)) == [1 + 2 * Float(factor)])
    return queue.buildStatistics.fromDisk
  }

  @Test func secondBuildComesFromDisk() throws {
    let root = try TemporaryFolder()
    let folder = root.path + "/a/b/programs"  // made on the way
    #expect(try useCache(folder) == 0)
    #expect(root.files().count == 1)
    #expect(try useCache(folder) == 1)
    #expect(try useCache(folder, factor: 2) == 0)  // other defines, another program
    #expect(root.files().count == 2)
    #expect(try useCache(nil) == 0)
  }

  @Test(arguments: ["cut short", "one bit", "empty", "foreign", "longer", "header only"])
  func damagedFilesAreBuiltAnew(_ damage: String) throws {
    let root = try TemporaryFolder()
    #expect(try useCache(root.path) == 0)
    let name = try #require(root.files().first)
    let whole = try #require(readFile(root.path + "/" + name))
    var bytes = whole
    switch damage {
    case "cut short": bytes.removeLast(bytes.count / 2)
    case "one bit": bytes[bytes.count - 9] ^= 4
    case "empty": bytes = []
    case "foreign":
      bytes = Array(
        "#!/bin/sh\nexit 1\n# a file that is not ours, longer than any header of a cache file".utf8)
    case "longer": bytes.append(0)
    default: bytes = Array(bytes.prefix(40))
    }
    root.write(name, bytes)
    #expect(try useCache(root.path) == 0)
    #expect(root.files() == [name])
    #expect(try useCache(root.path) == 1)
  }

  @Test func aRenamedFileIsForeign() throws {
    let root = try TemporaryFolder()
    let cache = DiskCache(folder: root.path)
    var (a, b) = (Fingerprint(), Fingerprint())
    a.combine("a")
    b.combine("b")
    cache.store(a, [1, 2, 3])
    #expect(cache.load(a) == [1, 2, 3])
    #expect(cache.load(b) == nil)
    rename(root.path + "/\(a)", root.path + "/\(b)")
    #expect(cache.load(b) == nil)
    #expect(root.files().isEmpty)
  }

  /// Whole by its checksum, but no binary of this driver. Mesa's rusticl ends the process on such a file (22.3.6).
  @Test(.enabled(if: (try? Device.select().platformName) != "rusticl"))
  func aFileThatTheDriverRefusesIsBuiltAnew() throws {
    let root = try TemporaryFolder()
    #expect(try useCache(root.path) == 0)
    let name = try #require(root.files().first)
    let value = try #require(UInt128(name, radix: 16))
    let cache = DiskCache(folder: root.path)
    cache.store(Fingerprint(value: value), Array("no program".utf8))
    #expect(try useCache(root.path) == 0)
    #expect(try useCache(root.path) == 1)
  }

  @Test func aFolderThatCannotBeWrittenIsNoError() throws {
    #expect(try useCache("/proc/flashcl/programs") == 0)
    let root = try TemporaryFolder()
    root.write("file", [1])
    #expect(try useCache(root.path + "/file/programs") == 0)
    #expect(root.files() == ["file"])
  }

  @Test func fingerprintsAreFNV1a() {
    // The published vectors of FNV-1a, 128 bits.
    #expect(Fingerprint().description == "6c62272e07bb014262b821756295c58d")
    var a = Fingerprint()
    Array("a".utf8).withUnsafeBytes { a.combine($0) }
    #expect(a.description == "d228cb696f1a8caf78912b704e4a8964")
    var (one, two) = (Fingerprint(), Fingerprint())
    for text in ["ab", "c"] { one.combine(text) }
    for text in ["a", "bc"] { two.combine(text) }
    #expect(one != two)
  }
}
