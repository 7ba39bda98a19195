import FlashCL
import FlashCLConversion
import FlashCLFiles
import FlashCLModels
import FlashCLReference
import Foundation
import Testing

/// Rewritten models against what they were: logits of transformers, and the bytes themselves.
@Suite struct ConversionTests {
  /// A folder of its own, removed when the test lets go of it.
  private final class Scratch {
    let path = NSTemporaryDirectory() + "flashcl-conversion-\(UUID().uuidString)"
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }
    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
  }

  @discardableResult
  private func convert(_ source: String, _ target: String, _ type: ElementType) throws -> [Conversion.Tensor]
  {
    try Conversion(ModelSource.open(source), to: target, type: type).run(key: "test")
  }

  private func expectLogits(of fixture: String, from path: String) throws {
    let ids = try Fixtures.integers("\(fixture)/tokens.npy").elements
    let truth = try Fixtures.floats("\(fixture)/logits.npy").elements
    let decoder = try loadDecoder(path, on: ReferenceBackend())
    #expect(try distance(DecoderState(decoder, capacity: ids.count).allLogits(ids), truth) <= 1e-4)
  }

  /// Folders that become GGUF files, and folders again.
  static let folders = [
    "llama-tied", "llama-untied", "gpt2", "decoders/mistral", "decoders/mixtral", "decoders/gemma",
    "decoders/phi", "decoders/gpt-neox", "decoders/gpt-neox-sequential", "decoders/bloom", "decoders/mpt",
    "decoders/falcon", "decoders/falcon-new", "decoders/rope-linear", "decoders/rope-llama3",
    "decoders/rope-yarn", "decoders/llama-bias", "decoders/mistral-full", "decoders/qwen3",
    "decoders/qwen3-moe",
    "decoders/olmo2", "decoders/smollm3", "decoders/stablelm", "decoders/stablelm-parallel",
    "decoders/starcoder2",
    "decoders/mpt-clipped", "decoders/falcon-one-norm",
  ]

  /// To GGUF, where names, the rows of q and k, norms and experts differ, and back to the very same numbers.
  @Test(arguments: folders) func thereAndBack(name: String) throws {
    let scratch = try Scratch()
    let tensors = try convert(Fixtures.path(name), scratch("model.gguf"), .f32)
    #expect(tensors.allSatisfy { $0.rms == 0 && $0.largest == 0 })
    try expectLogits(of: name, from: scratch("model.gguf"))
    try convert(scratch("model.gguf"), scratch("folder"), .f32)
    try expectLogits(of: name, from: scratch("folder"))
    let (old, new) = (
      try ModelFolder(Fixtures.path(name)).weights, try ModelFolder(scratch("folder")).weights
    )
    for entry in new.tensors {
      // A gain is its distance from 1 in Gemma's folders: the last bits of small ones are lost.
      let bound = name.contains("gemma") ? 6e-8 : 0
      #expect(try difference(entry.name, new, old) <= bound, "\(entry.name)")
    }
    #expect(try scratch.names == ["folder", "model.gguf"])
  }

  /// The largest difference of two tensors of one name and shape.
  private func difference(_ name: String, _ a: any TensorFile, _ b: any TensorFile) throws -> Double {
    let (first, second) = (try #require(a.entry(named: name)), try #require(b.entry(named: name)))
    #expect(first.shape == second.shape)
    return try withExtendedLifetime((a, b)) {
      let (left, right) = (try a.bytes(of: first), try b.bytes(of: second))
      let (before, after) = (
        try #require(first.type).decoded(left), try #require(second.type).decoded(right)
      )
      return zip(before, after).map { abs($0 - $1) }.max() ?? 0
    }
  }

  /// What the `gguf` package's names and llama.cpp's arrangement make of the same folders.
  @Test(arguments: [
    "mixtral", "gemma", "phi", "gpt-neox", "bloom", "mpt", "falcon", "falcon-new", "rope-llama3", "rope-yarn",
    "rope-linear", "mistral", "llama-bias", "qwen3", "qwen3-moe", "olmo2", "smollm3", "stablelm-parallel",
    "starcoder2", "mpt-clipped",
  ]) func filesAreThoseOfTheGGUFPackage(name: String) throws {
    let scratch = try Scratch()
    try convert(Fixtures.path("decoders/\(name)"), scratch("model.gguf"), .f32)
    let (ours, theirs) = (
      try GGUF(scratch("model.gguf")), try GGUF(Fixtures.path("decoders/\(name)-gguf/model.gguf"))
    )
    #expect(ours.tensors.map(\.name).sorted() == theirs.tensors.map(\.name).sorted())
    for entry in theirs.tensors {
      #expect(try difference(entry.name, ours, theirs) <= 1e-6, "\(entry.name)")
    }
    let own: Set = ["general.file_type", "general.quantization_version", "general.name"]
    for member in theirs.metadata where !own.contains(member.key) {
      #expect(ours[member.key]?.description == member.value.description, "\(member.key)")
    }
  }

  /// Files whose settings no folder among the fixtures has.
  @Test(arguments: ["qwen2-gguf", "gemma2-gguf", "gemma3-gguf", "mixtral-gguf", "rope-llama3-gguf"])
  func fileToFolder(name: String) throws {
    let scratch = try Scratch()
    try convert(Fixtures.path("decoders/\(name)/model.gguf"), scratch("folder"), .f32)
    try expectLogits(of: "decoders/\(name)", from: scratch("folder"))
    try convert(scratch("folder"), scratch("model.gguf"), .f32)
    try expectLogits(of: "decoders/\(name)", from: scratch("model.gguf"))
  }

  /// What the other format has no words for is refused by name.
  @Test(arguments: [
    ("decoders/qwen2", "cannot tell use_sliding_window true"),
    ("decoders/gemma2", "cannot tell query_pre_attn_scalar 10"),
    ("decoders/gemma3", "cannot tell query_pre_attn_scalar 10"),
    ("decoders/qwen3-moe-mixed", "cannot tell decoder_sparse_step 2"),
    ("decoders/bloom-normed", "cannot tell apply_residual_connection_post_layernorm true"),
    ("decoders/falcon-alibi", "cannot tell alibi true"), ("decoders/rope-dynamic", "rope scaling 'dynamic'"),
    ("decoders/opt", "names of OPTForCausalLM are not known; known: LlamaForCausalLM"),
    ("bert", "names of BertForMaskedLM are not known"),
  ]) func whatGGUFCannotTell(name: String, words: String) throws {
    let scratch = try Scratch()
    let error = #expect(throws: ModelError.self) {
      try convert(Fixtures.path(name), scratch("out.gguf"), .f16)
    }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    #expect(try scratch.names == [])
  }

  /// Weights in shards are read as one, and written as one file.
  @Test func shards() throws {
    let scratch = try Scratch()
    let source = Fixtures.path("llama-sharded")
    try expectLogits(of: "llama-tied", from: source)
    try convert(source, scratch("folder"), .f32)
    try expectLogits(of: "llama-tied", from: scratch("folder"))
    #expect(try ModelFolder(scratch("folder")).config["dtype"]?.string == "float32")
    let names = try FileManager.default.contentsOfDirectory(atPath: scratch("folder")).sorted()
    #expect(names == ["config.json", "generation_config.json", "model.safetensors"])
    try convert(source, scratch("model.gguf"), .f32)
    try expectLogits(of: "llama-tied", from: scratch("model.gguf"))
  }

  /// Expanded, a quantised file means what it meant, and keeps its metadata but for what says its type.
  @Test func expandedFile() throws {
    let scratch = try Scratch()
    let source = Fixtures.path("llama-quantised/model.gguf")
    try convert(source, scratch("f32.gguf"), .f32)
    try expectLogits(of: "llama-quantised", from: scratch("f32.gguf"))
    let (old, new) = (try GGUF(source), try GGUF(scratch("f32.gguf")))
    let own: Set = ["general.file_type", "general.quantization_version"]
    #expect(old.metadata.count > 5)
    #expect(
      old.metadata.filter { !own.contains($0.key) }.map { "\($0.key) \($0.value)" }
        == new.metadata.filter { !own.contains($0.key) }.map { "\($0.key) \($0.value)" })
    #expect(new["general.file_type"]?.int == 0)
  }

  /// Rows of 48 and 76 elements fit no block, so matrices are f16; vectors are f32. Errors are those of rounding.
  @Test func typesThatDoNotFit() throws {
    let scratch = try Scratch()
    for type in ElementType.weights where type.isQuantised {
      let path = scratch("\(type).gguf")
      let tensors = try convert(Fixtures.path("llama-tied"), path, type)
      #expect(tensors.allSatisfy { $0.to == ($0.name.contains("norm") ? "f32" : "f16") })
      let head = try #require(tensors.first { $0.name == "token_embd.weight" })
      #expect(head.rms > 0 && head.rms < 3e-4 * head.size && head.largest >= head.rms)
    }
  }

  /// A matrix of every type, with rows that fit 256 and rows that fit 32 alone.
  @Test func fallbacks() throws {
    let scratch = try Scratch()
    let source = try weights(
      scratch("in"), [("blk.0.wide.weight", [3, 512]), ("blk.0.narrow.weight", [3, 96])])
    let narrow: [ElementType: ElementType] = [
      .q2_k: .iq4_nl, .q3_k: .iq4_nl, .q4_k: .q5_0, .q5_k: .q5_1, .q6_k: .q8_0,
    ]
    var errors: [ElementType: Double] = [:]
    for type in ElementType.weights where type.isQuantised {
      let tensors = try Conversion(.gguf(GGUF(source)), to: scratch("out.gguf"), type: type).run(key: "test")
      #expect(tensors.map(\.to) == [type.rawValue, (narrow[type] ?? type).rawValue])
      errors[type] = tensors[0].rms / tensors[0].size
    }
    // What more bits, and a search for scales, are for.
    let order: [ElementType] = [.q2_k, .q3_k, .q4_0, .q4_k, .q5_0, .q5_k, .q6_k, .q8_0]
    for (coarse, fine) in zip(order, order.dropFirst()) {
      #expect(try #require(errors[coarse]) > #require(errors[fine]), "\(coarse), \(fine)")
    }
    #expect(
      try #require(errors[.q2_k]) < 0.4 && #require(errors[.q4_k]) < 0.08 && #require(errors[.q6_k]) < 0.02)
    #expect(try #require(errors[.iq4_nl]) < #require(errors[.q4_0]))
  }

  /// Whatever an interrupted run left, the result is the same; nothing stands at OUT before.
  @Test(arguments: [0, 10, 4000, 9000, 20000]) func resumed(left: Int) throws {
    let scratch = try Scratch()
    let source = Fixtures.path("llama-untied")
    let whole = try convert(source, scratch("whole.gguf"), .f16)
    let bytes = try Data(contentsOf: URL(filePath: scratch("whole.gguf")))
    #expect(bytes.count > 20000)
    try bytes.prefix(left).write(to: URL(filePath: scratch("out.gguf.test.partial")))
    let conversion = try Conversion(ModelSource.open(source), to: scratch("out.gguf"), type: .f16)
    let tensors = try conversion.run(key: "test", resumes: true)
    #expect(try Data(contentsOf: URL(filePath: scratch("out.gguf"))) == bytes)
    #expect(tensors.map(\.rms) == whole.map(\.rms) && tensors.map(\.largest) == whole.map(\.largest))
    #expect(try scratch.names == ["out.gguf", "whole.gguf"])
  }

  @Test func whatCannotBeStored() throws {
    let scratch = try Scratch()
    let source = try weights(scratch("in"), [("blk.0.w.weight", [2, 256])], value: 1e30)
    for (type, words) in [(ElementType.f16, "too large"), (.q8_0, "too large"), (.q4_k, "too large")] {
      let error = #expect(throws: ModelError.self) { try convert(source, scratch("out.gguf"), type) }
      #expect(
        error?.description.contains("blk.0.w.weight") == true && error?.description.contains(words) == true)
    }
    let broken = try weights(scratch("nan"), [("blk.0.w.weight", [2, 256])], value: .nan)
    #expect(throws: ModelError.self) { try convert(broken, scratch("out.gguf"), .q8_0) }
    #expect(throws: ModelError.self) { try convert(Fixtures.path("llama-tied"), scratch("out"), .q4_0) }
    #expect(throws: ModelError.self) { try convert(Fixtures.path("bert"), scratch("out.gguf"), .f16) }
    #expect(throws: ModelError.self) { try convert(Fixtures.path("llama-tied"), scratch.path, .f16) }
    let error = #expect(throws: ModelError.self) { try convert(floats8(scratch("f8")), scratch("out"), .f16) }
    #expect(error?.description.contains("F8_E4M3") == true && error?.description.contains("q4_k") == true)
    #expect(try scratch.names == ["f8", "in", "nan"])
  }

  /// A folder with one matrix of eight-bit floats.
  private func floats8(_ path: String) throws -> String {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try #"{"architectures": ["LlamaForCausalLM"]}"#.write(
      toFile: path + "/config.json", atomically: true, encoding: .utf8)
    let layout = TensorLayout(name: "w.weight", shape: [2, 4], typeName: "F8_E4M3", byteCount: 8)
    let file = try PartialFile(path + "/model.safetensors", resumes: false)
    try file.append(Safetensors.header([layout]).bytes + [UInt8](repeating: 1, count: 8))
    return path
  }

  /// A GGUF file with such tensors, of normal numbers or of one value.
  private func weights(_ path: String, _ shapes: [(String, [Int])], value: Float? = nil) throws -> String {
    var random = SplitMix64(seed: 7)
    var metadata = GGUF.Metadata()
    metadata.add("general.architecture", "fixture")
    let layouts = shapes.map { name, shape in
      TensorLayout(name: name, shape: shape, typeName: "f32", byteCount: 4 * shape.reduce(1, *))
    }
    let header = try GGUF.header(metadata, layouts, path: path)
    let file = try PartialFile(path, resumes: false)
    try file.append(header.bytes)
    for (layout, range) in zip(layouts, header.ranges) {
      try file.pad(to: range.lowerBound)
      let values = (0..<layout.byteCount / 4).map { _ in
        value ?? (0..<12).reduce(Float(-6)) { sum, _ in sum + Float(random.uniform()) }
      }
      try values.withUnsafeBytes { try file.append($0) }
    }
    return path
  }

  /// The tokenizer goes along: pieces, merges, special tokens, the edges and the template.
  @Test func tokenizer() throws {
    let scratch = try Scratch()
    let folder = scratch("llama")
    try FileManager.default.copyItem(atPath: Fixtures.path("llama-tied"), toPath: folder)
    let pieces = ["<unk>", "<s>", "</s>", "a", "b", "c", "Ġ", "ab", "Ġab", "Ċ"].enumerated()
    let vocabulary = pieces.map { "\(jsonQuoted($0.element)): \($0.offset)" }.joined(separator: ", ")
    try """
    {"added_tokens": [{"id": 1, "content": "<s>", "special": true}, {"id": 2, "content": "</s>", "special": true},
      {"id": 10, "content": "<tool>", "special": false}],
     "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
     "post_processor": {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
       "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
     "decoder": {"type": "ByteLevel"},
     "model": {"type": "BPE", "vocab": {\(vocabulary)}, "merges": ["a b", ["Ġ", "ab"]]}}
    """.write(toFile: folder + "/tokenizer.json", atomically: true, encoding: .utf8)
    try #"{"chat_template": "{{ bos_token }}\n"}"#.write(
      toFile: folder + "/tokenizer_config.json", atomically: true, encoding: .utf8)
    try convert(folder, scratch("model.gguf"), .f16)
    let file = try GGUF(scratch("model.gguf"))
    #expect(file["tokenizer.ggml.tokens"]?.array?.count == 151)
    #expect(file["tokenizer.ggml.pre"]?.string == "gpt-2")
    #expect(
      file["tokenizer.ggml.add_bos_token"]?.bool == true
        && file["tokenizer.ggml.add_eos_token"]?.bool == false)
    #expect(file["tokenizer.ggml.bos_token_id"]?.int == 1 && file["tokenizer.ggml.eos_token_id"]?.int == 2)
    #expect(file["tokenizer.chat_template"]?.string == "{{ bos_token }}\n")
    // And back, where it is a tokenizer.json again.
    try convert(scratch("model.gguf"), scratch("folder"), .f16)
    let (old, new) = (try TokenizerFiles.load(.open(folder)), try TokenizerFiles.load(.gguf(file)))
    let again = try TokenizerFiles.load(.open(scratch("folder")))
    for text in ["ab ab\nc", "<tool>ab</s>", "", "  cab"] {
      let ids = try old.encode(text, special: true)
      #expect(try ids == new.encode(text, special: true), "\(text)")
      #expect(try ids == again.encode(text, special: true), "\(text)")
    }
    #expect(
      try ChatTemplate(.open(scratch("folder"))).render(
        Conversation([Conversation.message("user", "a")]), addGenerationPrompt: false) == "<s>")
    #expect(try SpecialTokens(.open(scratch("folder"))).ends == [2])
  }

  /// SentencePiece's BPE with bytes for what is unknown, from its own file through GGUF to its own file.
  @Test(arguments: [("llama2.model", "tokenizer.model"), ("llama2.tokenizer.json", "tokenizer.json")])
  func pieces(fixture: String, name: String) throws {
    let scratch = try Scratch()
    let folder = scratch("llama")
    try FileManager.default.copyItem(atPath: Fixtures.path("llama-tied"), toPath: folder)
    let model = URL(filePath: Fixtures.path("../../FlashCLTokenizersTests/Fixtures/\(fixture)"))
    try Data(contentsOf: model).write(to: URL(filePath: folder + "/\(name)"))
    try convert(folder, scratch("model.gguf"), .f16)
    try convert(scratch("model.gguf"), scratch("folder"), .f16)
    let tokenizers = try [folder, scratch("model.gguf"), scratch("folder")].map {
      try TokenizerFiles.load(.open($0))
    }
    for text in ["Hello world", " two  spaces", "naïve 日本 😀\n", "<s>a</s>"] {
      let ids = try tokenizers[0].encode(text, special: true)
      #expect(ids.count > 2 && ids.first == 1)
      for other in tokenizers.dropFirst() { #expect(try other.encode(text, special: true) == ids, "\(text)") }
    }
  }
}
