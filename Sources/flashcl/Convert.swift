import ArgumentParser
import FlashCL
import FlashCLConversion
import FlashCLFiles
import FlashCLRuntime

struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert", abstract: "Rewrites a model with weights of another type.",
    discussion: """
      IN is a .gguf file or a folder with safetensors; OUT is a GGUF file where it ends in .gguf, else a folder, which \
      holds f32, f16 or bf16. GGUF to GGUF and folder to folder take every model; most decoders that llama.cpp has \
      names for also go from one format to the other, with their tokenizer and chat template; a refusal lists them. What a \
      setting means that the other format has no words for is refused by name.

      Matrices become TYPE. Vectors, norms, positions and routers are f32; the output head, and the token table where it \
      serves as one, has at least q6_k; where a row is no whole number of 256, q2_k and q3_k become iq4_nl, q4_k q5_0, \
      q5_k q5_1, q6_k q8_0; where it is none of 32, f16. q8_0, q4_0, q4_1, q5_0 and q5_1 are rounded as the gguf package \
      does; of the others each group's scale is the one of some twenty that leaves the least weighted square error.

      Each tensor's error is printed: the root of the mean square, its share of the tensor's own, and the largest. Until \
      it is complete the result stands as OUT.KEY.partial; after an interruption, the same command with --resume goes on \
      where it ended.
      Example: flashcl convert SmolLM2.gguf SmolLM2.Q4_K.gguf --type q4_k
      """)

  @ArgumentParser.Argument(help: "A .gguf file, or a folder with config.json and model.safetensors.")
  var source: String
  @ArgumentParser.Argument(help: "The .gguf file or the folder to write.")
  var target: String
  @Option(
    help: ArgumentHelp(
      "How matrices are stored: \(ElementType.weights.map(\.rawValue).joined(separator: ", ")).",
      valueName: "type"),
    transform: Convert.type)
  var type: ElementType
  @Flag(help: "Go on with the tensors that an interrupted run left.")
  var resume = false
  @OptionGroup var output: FormatOption

  private static func type(_ text: String) throws -> ElementType {
    guard let type = ElementType(rawValue: text.lowercased()), ElementType.weights.contains(type) else {
      let known = ElementType.weights.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("'\(text)' is no type of weights; known: \(known)")
    }
    return type
  }

  func run() throws {
    let target =
      self.target.count > 1 && self.target.hasSuffix("/") ? String(self.target.dropLast()) : self.target
    try Output.requireFolder(of: target)
    let model = try ModelSource.open(source)
    let conversion = try Conversion(model, to: target, type: type)
    let total = model.tensors.tensors.count
    let tensors = try conversion.run(key: key(model), resumes: resume) { index, name in
      Terminal.progress("\(index) of \(total) tensors: \(name)")
    }
    Terminal.progress("")
    let bytes = tensors.reduce(0) { $0 + $1.byteCount }
    guard output.isJSON else {
      let rows = tensors.map { tensor in
        [
          escaped(tensor.name), tensor.from, tensor.to, short(tensor.rms),
          tensor.size > 0 ? fixed(100 * tensor.rms / tensor.size, 2) : "0", short(tensor.largest),
        ]
      }
      let header = ["tensor", "from", "to", "rms error", "%", "largest"]
      return try Output.write(
        table([header] + rows, right: [3, 4, 5])
          + "\(target): \(count(tensors.count, "tensor")), \(size(bytes))\n")
    }
    try Output.json(
      Report(
        input: source, output: target, type: type.rawValue, bytes: bytes,
        tensors: tensors.map {
          Report.Tensor(
            name: $0.name, from: $0.from, to: $0.to, bytes: $0.byteCount, rms_error: $0.rms, rms: $0.size,
            largest_error: $0.largest)
        }))
  }

  /// Whatever decides the bytes: the source's header and size, and the type.
  private func key(_ model: ModelSource) -> String {
    var fingerprint = Fingerprint()
    for text in [source, type.rawValue] { fingerprint.combine(text) }
    for file in model.tensors.files {
      fingerprint.combine("\(file.bytes.count)")
      withExtendedLifetime(file) {
        fingerprint.combine(UnsafeRawBufferPointer(rebasing: file.bytes.prefix(1 << 16)))
        fingerprint.combine(UnsafeRawBufferPointer(rebasing: file.bytes.suffix(1 << 16)))
      }
    }
    return String(fingerprint.description.prefix(16))
  }

  private struct Report: Encodable {
    let input: String
    let output: String
    let type: String
    let bytes: Int
    let tensors: [Tensor]

    struct Tensor: Encodable {
      let name: String
      let from: String
      let to: String
      let bytes: Int
      let rms_error: Double
      let rms: Double
      let largest_error: Double
    }
  }
}
