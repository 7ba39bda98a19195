import COpenCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// libOpenCL's functions. No `Device` exists unless the library was opened, and everything else needs a device, so a
/// call through this table never meets a null pointer.
var cl: fcl_functions { @inline(__always) get { opened.functions } }

// Opened on first use, once per process; the table of C function pointers is constant from then on.
private let opened: (functions: fcl_functions, error: CLError?) = {
  do throws(CLError) {
    return (try openLibrary(at: environment("FLASHCL_OPENCL_LIBRARY")), nil)
  } catch {
    return (fcl_functions(), error)
  }
}()

/// Throws `CLError.noLibrary` when libOpenCL could not be opened.
func requireLibrary() throws(CLError) {
  if let error = opened.error { throw error }
}

/// Opens libOpenCL, or the library at `path` when one is given.
func openLibrary(at path: String?) throws(CLError) -> fcl_functions {
  var functions = fcl_functions()
  var reason = [CChar](repeating: 0, count: 512)
  guard fcl_open(path ?? "libOpenCL.so.1", &functions, &reason, reason.count) else {
    throw .noLibrary(String(decoding: reason.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
  }
  return functions
}

/// An environment variable; nil when it is unset or empty.
func environment(_ name: String) -> String? {
  guard let value = getenv(name), value.pointee != 0 else { return nil }
  return String(cString: value)
}

/// FNV-1a over 128 bits: names files of the caches and finds damage in them. Every step is a bijection of the
/// state, so one changed byte always changes the result; nobody is defended against, so no cryptographic hash is needed.
package struct Fingerprint: Hashable, Sendable, CustomStringConvertible {
  private(set) var value: UInt128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d

  package init() {}
  init(value: UInt128) { self.value = value }

  package mutating func combine(_ bytes: UnsafeRawBufferPointer) {
    var hash = value
    for byte in bytes { hash = (hash ^ UInt128(byte)) &* 0x0000_0000_0100_0000_0000_0000_0000_013b }
    value = hash
  }

  /// The fingerprint that is written so; nil for any other text.
  init?(_ description: String) {
    guard description.utf8.count == 32, let value = UInt128(description, radix: 16) else { return nil }
    self.value = value
    if self.description != description { return nil }
  }

  /// Adds a text and its end, so that ("ab", "c") and ("a", "bc") differ.
  package mutating func combine(_ text: String) {
    var text = text
    text.withUTF8 { combine(UnsafeRawBufferPointer($0)) }
    withUnsafeBytes(of: UInt8(0xff)) { combine($0) }  // no byte of UTF-8
  }

  package var description: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 32 - digits.count) + digits
  }
}
