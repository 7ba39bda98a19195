import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLTokenizers
import Foundation
import Testing

/// Broken models: each is refused in one line that names the file and what is wrong with it.
@Suite struct BadModelTests {
  /// A copy of a tiny model in a folder of its own, changed before it is loaded.
  private func load(_ name: String = "llama-tied", changing change: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "bad-model-\(UUID().uuidString)")
    try FileManager.default.copyItem(at: URL(fileURLWithPath: Fixtures.path(name)), to: folder)
    defer { try? FileManager.default.removeItem(at: folder) }
    try change(folder)
    _ = try Architectures.load(ModelSource.open(folder.path), on: Place.cpu.backend())
  }

  private func replace(_ old: String, _ new: String, in file: URL) throws {
    let text = try String(contentsOf: file, encoding: .utf8)
    #expect(text.contains(old))
    try text.replacing(old, with: new).write(to: file, atomically: true, encoding: .utf8)
  }

  /// What loading says after `old` became `new` in config.json.
  private func refusal(_ old: String, _ new: String, model: String = "llama-tied") -> String {
    do {
      try load(model) { try replace(old, new, in: $0.appendingPathComponent("config.json")) }
      return "nothing"
    } catch { return "\(error)" }
  }

  @Test func unknownArchitecture() {
    let text = refusal("LlamaForCausalLM", "MambaForCausalLM")
    #expect(text.contains("'MambaForCausalLM' is not supported") && text.contains("LlamaForCausalLM"))
  }

  @Test func settings() {
    #expect(
      refusal("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 0").contains("num_hidden_layers is 0"))
    #expect(refusal("\"num_hidden_layers\": 3", "\"num_hidden_layers\": \"3\"").contains("no number"))
    #expect(refusal("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4").contains("model.layers.3"))
    #expect(refusal("\"hidden_size\": 48", "\"hidden_sizes\": 48").contains("hidden_size is missing"))
    #expect(refusal("\"hidden_size\": 48", "\"hidden_size\": 1e30").contains("hidden_size is 1e+30"))
    #expect(refusal("\"hidden_size\": 48", "\"hidden_size\": 40").contains("expected [rows, 40]"))
    #expect(
      refusal("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4").contains(
        "is no multiple of num_key_value_heads 4"))
    #expect(refusal("\"hidden_act\": \"silu\"", "\"hidden_act\": \"mish\"").contains("mish"))
    #expect(
      refusal("\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"spiral\"}").contains(
        "rope scaling 'spiral' is not supported; known: linear, llama3, yarn, dynamic, longrope"))
    #expect(refusal("\"gelu_new\"", "\"quick_gelu\"", model: "gpt2").contains("quick_gelu"))
  }

  /// What is wrong with a decoder's settings is said in one line, after the folder's name.
  private func refused(
    _ model: String, _ old: String, _ new: String, _ reason: String,
    _ place: SourceLocation = #_sourceLocation
  ) {
    let text = refusal(old, new, model: "decoders/\(model)")
    #expect(text.contains(reason), "\(text)", sourceLocation: place)
    #expect(text.contains("bad-model-") && !text.contains("\n"), "\(text)", sourceLocation: place)
  }

  @Test func settingsOfDecoders() {
    refused("mixtral", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 9", "9 experts serve a token")
    refused("mixtral", "\"num_local_experts\": 5", "\"num_local_experts\": 8", "is [5, 48], expected [8, 48]")
    refused("mixtral", "\"num_local_experts\": 5", "\"num_local_experts\": 4", "is [5, 48], expected [4, 48]")
    refused(
      "mixtral", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 0", "num_experts_per_tok is 0")
    refused(
      "qwen3-moe", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 6", "6 experts serve a token")
    refused("qwen3-moe", "\"num_experts\": 5", "\"num_experts\": 0", "num_experts is 0")
    refused(
      "qwen3-moe-mixed", "\"decoder_sparse_step\": 2", "\"decoder_sparse_step\": 0",
      "decoder_sparse_step is 0")
    refused("phi", "\"qk_layernorm\": false", "\"qk_layernorm\": true", "q_layernorm.weight is missing")
    refused("phi", "\"partial_rotary_factor\": 0.5", "\"partial_rotary_factor\": 0.01", "rotary elements")
    refused(
      "phi", "\"partial_rotary_factor\": 0.5", "\"partial_rotary_factor\": 1e30", "expected a number above 0")
    refused("gemma2", "\"attn_logit_softcapping\": 2.5", "\"attn_logit_softcapping\": -1", "above 0")
    refused("gemma2", "\"attn_logit_softcapping\": 2.5", "\"attn_logit_softcapping\": 0", "above 0")
    refused("gemma2", "\"attn_logit_softcapping\": 2.5", "\"attn_logit_softcapping\": NaN", "no number")
    refused("gemma2", "\"final_logit_softcapping\": 4.0", "\"final_logit_softcapping\": 0", "above 0")
    refused(
      "gemma2", "\"query_pre_attn_scalar\": 10", "\"query_pre_attn_scalar\": 0", "query_pre_attn_scalar")
    refused(
      "gemma3", "\"attn_logit_softcapping\": null", "\"attn_logit_softcapping\": 50", "is not supported")
    refused(
      "gemma3", "\"use_bidirectional_attention\": false", "\"use_bidirectional_attention\": true",
      "use_bidirectional_attention is not supported")
    refused("gemma2", "    \"sliding_attention\",\n", "    \"chunked_attention\",\n", "'chunked_attention'")
    refused("mpt", "\"clip_qkv\": null", "\"clip_qkv\": -6", "clip_qkv is -6.0")
    refused("mpt", "\"alibi\": true", "\"alibi\": false", "learned positions")
    refused("mpt", "\"qk_ln\": false", "\"qk_ln\": true", "attn_config.qk_ln is not supported")
    refused("smollm3-window", "    0,\n    1\n", "    0\n", "no_rope_layers has 2 entries for 3 layers")
    refused("stablelm", "\"qk_layernorm\": false", "\"qk_layernorm\": true", "qk_layernorm is not supported")
    refused("falcon-new", "\"num_kv_heads\": 2", "\"num_kv_heads\": 4", "no multiple")
  }

  @Test func windows() {
    for model in ["gemma2", "mistral", "mixtral-window", "phi3", "starcoder2", "gemma3", "qwen2"] {
      let config = try? Fixtures.json("decoders/\(model)/config.json")
      let window = config?["sliding_window"]?.int ?? 0
      for bad in ["0", "-3", "2.5"] {
        refused(
          model, "\"sliding_window\": \(window)", "\"sliding_window\": \(bad)",
          "the setting sliding_window is \(bad)")
      }
    }
  }

  @Test func ropeScaling() {
    refused("rope-yarn", "\"factor\": 4.0", "\"factor\": 0", "factor 0.0")
    refused("rope-linear", "\"factor\": 3.0", "\"factor\": -3", "factor -3.0")
    refused("rope-dynamic", "\"factor\": 4.0,", "", "factor missing")
    refused("rope-llama3", "\"low_freq_factor\": 1.0,", "", "low_freq_factor missing")
    refused("rope-linear", "\"rope_theta\": 10000.0", "\"rope_theta\": 0", "rope_theta is 0.0")
    refused("rope-longrope", "    \"factor\": 4.0,\n", "", "neither an attention_factor nor a factor")
    refused("phi3", "      1.4,\n", "", "rope_scaling.long_factor has 5 factors, expected 6")
    refused(
      "phi3", "      1.1,\n", "      1.1, 1.2,\n", "rope_scaling.short_factor has 7 factors, expected 6")
    refused(
      "phi3", "      1.1,\n", "      -1.1,\n",
      "rope_scaling.short_factor holds a factor that is no number above 0")
    refused("phi3", "      1.4,\n", "      null,\n", "rope_scaling.long_factor holds a factor")
    refused("phi3", "\"long_factor\"", "\"longer_factor\"", "rope_scaling.long_factor has 0 factors")
    refused(
      "phi3", "\"type\": \"longrope\"", "\"type\": \"longest\"", "rope scaling 'longest' is not supported")
    refused(
      "phi3", "\"original_max_position_embeddings\": 16", "\"original_max_position_embeddings\": 0",
      "original_max_position_embeddings is 0")
  }

  /// What loading a model says after one of its files was changed.
  private func refusal(_ model: String, _ file: String, _ change: (inout Data) -> Void) -> String {
    do {
      try load(model) { folder in
        let file = folder.appendingPathComponent(file)
        var bytes = try Data(contentsOf: file)
        change(&bytes)
        try bytes.write(to: file)
      }
      return "nothing"
    } catch { return "\(error)" }
  }

  @Test func anExpertThatIsNotThere() {
    for (model, name) in [
      ("mixtral", "model.layers.1.block_sparse_moe.experts.3.w2.weight"),
      ("qwen2-moe", "model.layers.0.mlp.experts.4.up_proj.weight"),
      ("qwen2-moe", "model.layers.1.mlp.shared_expert_gate.weight"),
    ] {
      // Another name of as many bytes.
      let text = refusal("decoders/\(model)", "model.safetensors") { bytes in
        guard let range = bytes.range(of: Data(name.utf8)) else { return }
        bytes[range.upperBound - 1] = UInt8(ascii: "_")
      }
      #expect(text.hasSuffix("the tensor \(name) is missing"), "\(text)")
    }
  }

  /// Eight-bit floats are stored by some files; none is computed with.
  @Test func eightBitFloatsAreRefusedByName() {
    let error = #expect(throws: ModelError.self) {
      try load { folder in
        let file = folder.appendingPathComponent("model.safetensors")
        let bytes = try Data(contentsOf: file)
        let length = bytes[0..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        // A tensor of as many bytes, four times as many elements.
        let header = String(decoding: bytes[8..<8 + length], as: UTF8.self)
          .replacing("\"F32\",\"shape\":[151,48]", with: "\"F8_E4M3\",\"shape\":[151,192]")
        var changed = Data(withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) })
        changed.append(contentsOf: Array(header.utf8) + bytes[(8 + length)...])
        try changed.write(to: file)
        try replace(
          "\"hidden_size\": 48", "\"hidden_size\": 192", in: folder.appendingPathComponent("config.json"))
      }
    }
    #expect(error?.description.contains("F8_E4M3") == true, "\(error?.description ?? "")")
  }

  @Test func settingsOfEncoders() {
    func refused(_ model: String, _ old: String, _ new: String, _ reason: String) {
      let text = refusal(old, new, model: model)
      #expect(text.contains(reason), "\(text)")
    }
    refused("encoders/deberta-masked", "\"conv_kernel_size\": 3", "\"conv_kernel_size\": 4", "of 4 places")
    refused(
      "encoders/deberta-masked", "\"position_buckets\": 6", "\"position_buckets\": 9223372036854775807",
      "position_buckets is no whole number up to")
    refused(
      "encoders/deberta-masked", "\"position_buckets\": 6", "\"position_buckets\": 7", "expected [14, 36]")
    refused(
      "encoders/bigbird-masked", "\"num_random_blocks\": 1", "\"num_random_blocks\": 300", "expected at most")
    refused(
      "encoders/longformer-masked", "\"max_position_embeddings\": 40", "\"max_position_embeddings\": 2",
      "leave none for tokens")
    refused("encoders/longformer-masked", "    8\n", "    7\n", "attention_window has no even number")
    refused("encoders/xlnet-masked", "\"same_length\": false", "\"same_length\": true", "same_length")
    refused("encoders/xlnet-masked", "\"attn_type\": \"bi\"", "\"attn_type\": \"both\"", "attn_type both")
    refused("transformer-xl/adaptive", "\"pre_lnorm\": false", "\"pre_lnorm\": true", "pre_lnorm")
    refused("transformer-xl/adaptive", "\"div_val\": 2", "\"div_val\": 20", "have no elements")
    refused("transformer-xl/adaptive", "    40\n", "    20\n", "cutoffs does not rise")
  }

  @Test func weightsThatAreNoNumbers() throws {
    // The last tensor's last element becomes NaN.
    let error = #expect(throws: ModelError.self) {
      try load { folder in
        let file = folder.appendingPathComponent("model.safetensors")
        var bytes = try Data(contentsOf: file)
        bytes.replaceSubrange(bytes.count - 4..<bytes.count, with: [0, 0, 0xc0, 0x7f])
        try bytes.write(to: file)
      }
    }
    #expect(error?.description.contains("holds NaN or infinity") == true)
  }

  @Test func truncatedWeights() {
    #expect(throws: FileError.self) {
      try load { folder in
        let file = folder.appendingPathComponent("model.safetensors")
        let bytes = try Data(contentsOf: file)
        try bytes.prefix(bytes.count - 100).write(to: file)
      }
    }
  }

  @Test func missingFiles() {
    #expect(throws: FileError.self) {
      try load { try FileManager.default.removeItem(at: $0.appendingPathComponent("config.json")) }
    }
    #expect(throws: FileError.self) {
      try load { try FileManager.default.removeItem(at: $0.appendingPathComponent("model.safetensors")) }
    }
    #expect(throws: FileError.self) { try ModelSource.open("/nonexistent/model.gguf") }
  }

  /// Text is what needs a tokenizer; tokens do not.
  @Test func aFolderWithoutATokenizer() throws {
    let source = try ModelSource.open(Fixtures.path("llama-tied"))
    let error = #expect(throws: ModelError.self) { try TokenizerFiles.load(source) }
    #expect(error?.description.contains("there is no tokenizer.json") == true)
  }

  @Test func samplingOptions() throws {
    let model = try LanguageModel(Fixtures.path("llama-tied"), on: Place.cpu.backend())
    func options(_ change: (inout GenerationOptions) -> Void) -> GenerationOptions {
      var options = GenerationOptions()
      change(&options)
      return options
    }
    #expect(throws: ModelError("the prompt is empty; leave it out to generate from nothing")) {
      try model.promptTokens("")
    }
    for bad in [
      options { $0.maxTokens = 0 }, options { $0.sampling.temperature = -1 },
      options { $0.sampling.topP = 2 },
      options { $0.sampling.topK = 0 }, options { $0.sampling.minP = -0.5 },
      options { $0.sampling.temperature = .nan }, options { $0.sampling.repetitionPenalty = 0 },
    ] {
      #expect(throws: ModelError.self) { try Generation(model, [1], bad) }
    }
  }
}
