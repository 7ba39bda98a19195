import Foundation
import Testing

/// What one run of the command left.
struct Outcome {
  let status: Int32
  let output: String
  let errors: String

  /// Standard output as one JSON document, an object.
  func json() throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
  }
}

/// The built command, beside the test bundle.
let flashcl: URL = {
  var folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
  let places = [folder.path, CommandLine.arguments[0], Bundle.main.bundlePath]
  for place in places {
    folder = URL(fileURLWithPath: place)
    while folder.path != "/" {
      let candidate = folder.appendingPathComponent("flashcl")
      var isFolder: ObjCBool = false
      if FileManager.default.fileExists(atPath: candidate.path, isDirectory: &isFolder), !isFolder.boolValue {
        return candidate
      }
      folder.deleteLastPathComponent()
    }
  }
  fatalError("the flashcl binary lies beside none of \(places)")
}()

/// Runs the command, on the reference unless `environment` says otherwise, and without any other FLASHCL_… variable.
func run(_ arguments: String..., environment: [String: String] = ["FLASHCL_DEVICE": "cpu"]) throws -> Outcome
{
  try run(arguments, environment: environment)
}

func run(
  _ arguments: [String], environment: [String: String] = ["FLASHCL_DEVICE": "cpu"], program: URL = flashcl,
  input: FileHandle? = nil, output: FileHandle? = nil
) throws -> Outcome {
  let folder = try Scratch()
  let process = Process()
  process.executableURL = program
  process.arguments = arguments
  process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("FLASHCL_") }
    .merging(environment) { $1 }
  process.standardInput = input ?? FileHandle.nullDevice
  process.standardOutput = try output ?? folder.file("output")
  process.standardError = try folder.file("errors")
  try process.run()
  process.waitUntilExit()
  #expect(process.terminationReason == .exit, "\(arguments) ended by signal \(process.terminationStatus)")
  func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: folder.path(name))), as: UTF8.self)
  }
  return Outcome(
    status: process.terminationStatus, output: output == nil ? try text("output") : "",
    errors: try text("errors"))
}

/// A folder of one test, removed with it.
final class Scratch {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("flashcl-\(UUID().uuidString)")

  init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(at: folder) }

  func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  func file(_ name: String, _ text: String = "") throws -> FileHandle {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path(name)))
    return try #require(FileHandle(forWritingAtPath: path(name)))
  }

  func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
  }
}

/// The tiny models of ModelTests, and the same with tokenizers.
enum Models {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("ModelTests/Fixtures")

  static func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  /// A Llama of random weights with a byte-level BPE of printable ASCII: 151 pieces.
  static func llama(in scratch: Scratch) throws -> String {
    let printable = (33...126).map { String(UnicodeScalar(UInt8($0))) } + ["Ġ", "Ċ"]
    let letters = printable.filter { $0.first?.isLetter == true && $0.first?.isASCII == true }
    let pieces = ["<unk>", "<s>", "</s>"] + printable + letters.map { "Ġ" + $0 }
    let tokenizer: [String: Any] = [
      "model": [
        "type": "BPE", "vocab": Dictionary(uniqueKeysWithValues: pieces.enumerated().map { ($1, $0) }),
        "merges": letters.map { "Ġ \($0)" },
      ],
      "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false, "use_regex": true],
      "added_tokens": (0..<3).map { ["id": $0, "content": pieces[$0], "special": true] as [String: Any] },
    ]
    let json = try JSONSerialization.data(withJSONObject: tokenizer)
    return try copy("llama-tied", to: scratch, adding: "tokenizer.json", json)
  }

  /// A BERT of random weights with a WordPiece vocabulary of letters, digits and signs: 113 pieces.
  static func bert(in scratch: Scratch) throws -> String {
    let letters = (97...122).map { String(UnicodeScalar(UInt8($0))) }
    let digits = (0...9).map { "\($0)" }
    let signs = (33...126).map { UnicodeScalar(UInt8($0)) }
      .filter { !$0.properties.isAlphabetic && !("0"..."9").contains($0) }.map { String($0) }
    let pieces =
      ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "##ing"] + letters + digits + signs
      + (letters + digits).map { "##" + $0 }
    return try copy(
      "bert", to: scratch, adding: "vocab.txt", Data((pieces.joined(separator: "\n") + "\n").utf8))
  }

  private static func copy(_ name: String, to scratch: Scratch, adding file: String, _ data: Data) throws
    -> String
  {
    let target = scratch.folder.appendingPathComponent(name)
    try FileManager.default.copyItem(at: folder.appendingPathComponent(name), to: target)
    try data.write(to: target.appendingPathComponent(file))
    return target.path
  }
}

/// A .npy file of float32 in C order.
struct FloatArray {
  let shape: [Int]
  let elements: [Float]

  init(_ path: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    let start = 10 + Int(bytes[8]) + Int(bytes[9]) << 8
    let header = String(decoding: bytes[10..<start], as: UTF8.self)
    #expect(header.contains("'<f4'") && header.contains("'fortran_order': False"), "\(header)")
    let tuple = try #require(header.split(separator: "(").last?.split(separator: ")").first)
    shape = tuple.split(separator: ",").compactMap { Int($0.filter { $0 != " " }) }
    elements = bytes[start...].withUnsafeBytes { data in
      (0..<data.count / 4).map { data.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
    #expect(shape.reduce(1, *) == elements.count)
  }

  func row(_ index: Int) -> ArraySlice<Float> {
    let width = shape[1]
    return elements[index * width..<(index + 1) * width]
  }
}

func distance(_ a: some Collection<Float>, _ b: some Collection<Float>) -> Float {
  a.count == b.count ? zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) } : .infinity
}
