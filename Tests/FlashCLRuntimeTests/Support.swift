import Glibc

@testable import FlashCLRuntime

/// A queue on the best device, without capabilities and, unless a folder is given, without a cache on disk.
func makeQueue(profiling: Bool = false, cache folder: String? = nil) throws -> Queue {
  try Queue(Device.select(), profiling: profiling, capabilities: .none, cache: ProgramCache(folder: folder))
}

/// A folder for one test, removed at its end with all files in it.
final class TemporaryFolder {
  let path: String

  init() {
    var template = Array("/tmp/flashcl-test-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template))
  }

  /// The names of all files below, folder by folder.
  func files(_ below: String = "") -> [String] {
    let here = path + "/" + below
    guard let folder = opendir(here) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name == "." || name == ".." { continue }
      let inner = below.isEmpty ? name : below + "/" + name
      if entry.pointee.d_type == UInt8(DT_DIR) { names += files(inner) } else { names.append(inner) }
    }
    return names
  }

  func write(_ name: String, _ bytes: [UInt8]) {
    guard let file = fopen(path + "/" + name, "wb") else { return }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
  }

  deinit {
    func remove(_ item: String) {
      if let folder = opendir(item) {
        var names: [String] = []
        while let entry = readdir(folder) {
          names.append(
            withUnsafePointer(to: &entry.pointee.d_name) {
              $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            })
        }
        closedir(folder)
        for name in names where name != "." && name != ".." { remove(item + "/" + name) }
      }
      _ = Glibc.remove(item)
    }
    remove(path)
  }
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
