import Foundation

@testable import FlashCLRuntime

/// A queue on the best device, without capabilities and, unless a folder is given, without a cache on disk.
func makeQueue(profiling: Bool = false, cache folder: String? = nil) throws -> Queue {
  try Queue(Device.select(), profiling: profiling, capabilities: .none, cache: DiskCache(folder: folder))
}

/// A folder for one test, removed at its end with all files in it.
final class TemporaryFolder {
  let path: String

  init() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "flashcl-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    path = folder.path
  }

  /// The names of all files below, folder by folder.
  func files() -> [String] {
    (FileManager.default.subpaths(atPath: path) ?? []).filter { name in
      var isFolder: ObjCBool = false
      return FileManager.default.fileExists(atPath: path + "/" + name, isDirectory: &isFolder)
        && !isFolder.boolValue
    }
  }

  func write(_ name: String, _ bytes: [UInt8]) {
    _ = FileManager.default.createFile(atPath: path + "/" + name, contents: Data(bytes))
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

extension Queue {
  func write<T: BitwiseCopyable>(_ values: [T], to buffer: Buffer, at offset: Int = 0) throws {
    try values.withUnsafeBytes { try write($0, to: buffer, at: offset) }
  }

  func read<T: BitwiseCopyable>(_ buffer: Buffer, at offset: Int = 0, count: Int, as zero: T) throws -> [T] {
    var values = [T](repeating: zero, count: count)
    try values.withUnsafeMutableBytes { try read(buffer, at: offset, into: $0) }
    return values
  }
}

/// Adds a constant to every element.
let addSource = Source(
  name: "add.cl",
  text: """
    kernel void add(global float *x, const int n, const float y) {
      const int i = get_global_id(0);
      if (i < n) x[i] += y * FACTOR;
    }
    """)
