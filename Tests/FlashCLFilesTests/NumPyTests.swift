import Foundation
import Testing

@testable import FlashCLFiles

@Suite struct NumPyTests {
  @Test func readsWhatNumPyWrites() throws {
    let floats = try NumPyArray<Float>(contentsOf: fixture("float32.npy"))
    #expect(floats.shape == [2, 3])
    #expect(floats.elements == [0.1, -0.0, .infinity, .leastNonzeroMagnitude, 3e38, -2.5])
    let doubles = try NumPyArray<Double>(contentsOf: fixture("float64.npy"))
    #expect(doubles.shape == [3])
    #expect(doubles.elements == [0.1, 1e-300, -2.5])
    let cube = try NumPyArray<Int32>(contentsOf: fixture("int32.npy"))
    #expect(cube.shape == [2, 3, 4])
    #expect(cube.elements == Array(-12..<12))
    let scalar = try NumPyArray<Int64>(contentsOf: fixture("int64.npy"))
    #expect(scalar.shape == [])
    #expect(scalar.elements == [1 << 62 + 1])
    #expect(
      try NumPyArray<Float16>(contentsOf: fixture("float16.npy")).elements == [0.1, -0.0, .infinity, 65504])
    #expect(try NumPyArray<Int8>(contentsOf: fixture("int8.npy")).elements == [-128, 0, 127])
    #expect(try NumPyArray<UInt8>(contentsOf: fixture("uint8.npy")).elements == [0, 1, 255])
    #expect(try NumPyArray<Bool>(contentsOf: fixture("bool.npy")).elements == [true, false, false, true])
  }

  /// What a file holds is known before its elements are read.
  @Test(arguments: [
    ("float16", [2, 2], 4), ("float32", [2, 3], 6), ("float64", [3], 3), ("int8", [3], 3),
    ("uint8", [1, 3], 3),
    ("int32", [2, 3, 4], 24), ("int64", [], 1), ("bool", [2, 2], 4),
  ])
  func looksIntoAnyFile(name: String, shape: [Int], count: Int) throws {
    let file = try NumPyFile(fixture(name + ".npy"))
    #expect(file.shape == shape && file.count == count && file.typeName == name)
    #expect(file.withBytes { $0.count } == count * (Int(file.descr.dropFirst(2)) ?? 0))
    if name != "float64" {
      expectError(fixture(name + ".npy"), file.descr, "expected \"<f8\"") {
        try file.elements(of: Double.self)
      }
    }
  }

  @Test func aByteThatIsNotZeroIsTrue() throws {
    let folder = try TemporaryFolder()
    let bytes = try MappedFile(fixture("bool.npy")).contents()
    let path = try folder.write(bytes.dropLast(4) + [0, 1, 2, 255], as: "x.npy")
    #expect(try NumPyArray<Bool>(contentsOf: path).elements == [false, true, true, true])
  }

  /// The very bytes that NumPy writes, header and all.
  @Test func writesWhatNumPyWrites() throws {
    let folder = try TemporaryFolder()
    func compare<Element: NumPyElement>(_ name: String, _: Element.Type) throws {
      try NumPyArray<Element>(contentsOf: fixture(name)).write(to: folder.file(name))
      #expect(
        try Data(contentsOf: URL(filePath: folder.file(name)))
          == Data(contentsOf: URL(filePath: fixture(name))))
    }
    try compare("float32.npy", Float.self)
    try compare("float64.npy", Double.self)
    try compare("int32.npy", Int32.self)
    try compare("int64.npy", Int64.self)
    try compare("float16.npy", Float16.self)
    try compare("int8.npy", Int8.self)
    try compare("uint8.npy", UInt8.self)
    try compare("bool.npy", Bool.self)
    #expect(try folder.names.count == 8)
  }

  @Test func writesRowByRow() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write([1, 2, 3], as: "x.npy")
    let writer = try NumPyWriter(path, shape: [3, 2], of: Int32.self)
    for row in 0..<3 { try writer.append([Int32(row), -1]) }
    // Until then the old file stands.
    #expect(try MappedFile(path).contents() == [1, 2, 3])
    try writer.finish()
    #expect(try NumPyArray<Int32>(contentsOf: path).elements == [0, -1, 1, -1, 2, -1])
    #expect(try folder.names == ["x.npy"])
    let empty = try NumPyWriter(folder.file("empty.npy"), shape: [0, 4], of: Float.self)
    try empty.finish()
    #expect(try NumPyArray<Float>(contentsOf: folder.file("empty.npy")).shape == [0, 4])
  }

  @Test func leavesNothingBehind() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("x.npy")
    func short() throws {
      let writer = try NumPyWriter(path, shape: [2, 2], of: Float.self)
      try writer.append([1, 2, 3])
      #expect(try folder.names.count == 1)
      try writer.finish()
    }
    expectError(path, "holds 4 elements, got only 3") { try short() }
    #expect(try folder.names.isEmpty)
    expectError(path, "holds 1 elements, got 2") {
      try NumPyArray<Float>(shape: [1], elements: [1, 2]).write(to: path)
    }
    #expect(try folder.names.isEmpty)
    expectError(folder.file("none/x.npy"), "cannot be written: No such file") {
      try NumPyWriter(folder.file("none/x.npy"), shape: [1], of: Float.self)
    }
    expectError(folder.path, "not a regular file") {
      try NumPyWriter(folder.path, shape: [1], of: Float.self)
    }
    expectError("/dev/null", "not a regular file") {
      try NumPyWriter("/dev/null", shape: [1], of: Float.self)
    }
    expectError(path, "shape [-1]") { try NumPyWriter(path, shape: [-1], of: Float.self) }
    expectError(path, "shape") { try NumPyWriter(path, shape: [.max, .max], of: Float.self) }
    #expect(try folder.names.isEmpty)
  }

  @Test func refusesOtherFiles() throws {
    let folder = try TemporaryFolder()
    func refuse(_ bytes: [UInt8], _ problem: String) throws {
      let path = try folder.write(bytes, as: "bad.npy")
      expectError(path, problem) { try NumPyArray<Float>(contentsOf: path) }
    }
    func header(_ text: String, dataCount: Int = 8, version: UInt8 = 1) -> [UInt8] {
      let count = UInt8(text.utf8.count)
      let length: [UInt8] = version == 1 ? [count, 0] : [count, 0, 0, 0]
      return [0x93] + "NUMPY".utf8 + [version, 0] + length + text.utf8
        + [UInt8](repeating: 0, count: dataCount)
    }
    let sound = "{'shape': (2,), 'descr': '<f4', 'fortran_order': False}"
    for version: UInt8 in 1...3 {
      let path = try folder.write(header(sound, version: version), as: "sound.npy")
      #expect(try NumPyArray<Float>(contentsOf: path).elements == [0, 0])
    }
    expectError(nil, "type \"<f8\", expected \"<f4\"") {
      try NumPyArray<Float>(contentsOf: fixture("float64.npy"))
    }
    expectError(nil, "type \">f4\"") { try NumPyArray<Float>(contentsOf: fixture("bigendian.npy")) }
    #expect(try NumPyFile(fixture("bigendian.npy")).typeName == "big-endian float32")
    expectError(nil, "type \"<U3\", which are no numbers") { try NumPyFile(fixture("text.npy")) }
    expectError(nil, "Fortran order") { try NumPyArray<Float>(contentsOf: fixture("fortran.npy")) }
    try refuse(Array("hello".utf8), "is not a .npy file")
    try refuse(header(sound, version: 4), "version 4")
    try refuse(header(sound, dataCount: 7), "has the shape [2] of 4-byte elements, but 7 bytes of data")
    try refuse(header(sound, dataCount: 9), "but 9 bytes of data")
    try refuse(
      Array(header(sound).prefix(20)), "has length \(sound.utf8.count), but the file has 10 bytes left")
    try refuse(Array(header(sound).prefix(9)), "the file ends at byte 9")
    for text in [
      "", "{}", "{'descr': '<f4'}", "{'shape': (2,), 'descr': '<f4', 'fortran_order': 0}",
      "{'shape': (2,, 'descr': '<f4', 'fortran_order': False}",
      "{'shape': 2, 'descr': '<f4', 'fortran_order': False}",
      "{'shape': (-2,), 'descr': '<f4', 'fortran_order': False}", "{'descr'", "{'shape': (2", sound + "x",
    ] {
      try refuse(header(text), "is not a dictionary of 'descr'")
    }
    let huge = "{'shape': (4611686018427387904,4), 'descr': '<f4', 'fortran_order': False}"
    try refuse(header(huge), "has the shape")
    // Holds nothing, and yet no strides could describe it.
    let empty = "{'shape': (4611686018427387904,4,0), 'descr': '<f4', 'fortran_order': False}"
    try refuse(header(empty, dataCount: 0), "has the shape")
    for descr in ["<f0", "<f", "<f-4", "<f99", "f4", "<", "<M8", "<f4444444444444444444444"] {
      let text = "{'shape': (2,), 'descr': '\(descr)', 'fortran_order': False}"
      try refuse(header(text), "holds elements of type \"\(descr)\", which are no numbers")
    }
  }
}
