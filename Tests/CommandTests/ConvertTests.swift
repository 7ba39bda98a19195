import Foundation
import Testing

/// `convert` and `perplexity` on a Llama of random weights with a tokenizer.
@Suite struct ConvertTests {
  @Test func aFolderBecomesAFileThatReadsText() throws {
    let scratch = try Scratch()
    let folder = try Models.llama(in: scratch)
    let file = scratch.path("model.gguf")
    let outcome = try run("convert", folder, file, "--type", "bf16", "--format", "json")
    #expect(outcome.status == 0, "\(outcome.errors)")
    let json = try outcome.json()
    let tensors = try #require(json["tensors"] as? [[String: Any]])
    #expect(json["type"] as? String == "bf16" && json["output"] as? String == file && tensors.count > 20)
    for tensor in tensors {
      let (error, size) = (tensor["rms_error"] as? Double ?? -1, tensor["rms"] as? Double ?? 0)
      let largest = tensor["largest_error"] as? Double ?? -1
      #expect(tensor["name"] is String && tensor["from"] as? String == "f32" && tensor["bytes"] is Int)
      #expect(
        tensor["to"] as? String == "f32" ? error == 0 && largest == 0 : error > 0 && error < 3e-3 * size)
    }
    let table = try run("convert", file, scratch.path("again.gguf"), "--type", "f32")
    let line = table.output.split(separator: "\n").first { $0.hasPrefix("blk.0.attn_q.weight ") }
    #expect(table.status == 0 && line?.split(separator: " ")[1...2] == ["bf16", "f32"])

    try Data("A lazy dog sleeps; the quick fox jumps.\n".utf8).write(to: URL(filePath: scratch.path("t.txt")))
    let values = try [folder, file, scratch.path("again.gguf")].map { model in
      let outcome = try run(
        "perplexity", "--model", model, "--file", scratch.path("t.txt"), "--context", "16", "--format", "json"
      )
      #expect(outcome.status == 0, "\(outcome.errors)")
      let json = try outcome.json()
      #expect(
        json["context"] as? Int == 16 && json["stride"] as? Int == 8 && json["windows"] as? Int ?? 0 > 1)
      let (sum, tokens) = (json["negative_log_likelihood"] as? Double ?? 0, json["tokens"] as? Int ?? 0)
      let value = try #require(json["perplexity"] as? Double)
      #expect(abs(value - exp(sum / Double(tokens))) < 1e-9 * value)
      return value
    }
    #expect(values[0] != values[1] && abs(values[0] - values[1]) < 0.03 * values[0])
    #expect(values[1] == values[2])
  }

  @Test func badUsage() throws {
    let scratch = try Scratch()
    let model = Models.path("llama-quantised/model.gguf")
    for arguments in [
      ["convert", model, scratch.path("x.gguf"), "--type", "iq1_s"], ["convert", model, "--type", "f16"],
      ["convert", model, scratch.path("x.gguf")],
      ["perplexity", "--model", model, "--file", "t", "--context", "1"],
      ["perplexity", "--model", model, "--file", "t", "--context", "8", "--stride", "9"],
    ] {
      let outcome = try run(arguments)
      #expect(outcome.status == 2 && outcome.output.isEmpty, "\(arguments): \(outcome.errors)")
    }
    for arguments in [
      ["convert", model, scratch.path("folder"), "--type", "q4_k"],
      ["convert", scratch.path("none.gguf"), scratch.path("x.gguf"), "--type", "f16"],
      ["convert", model, scratch.path("none/x.gguf"), "--type", "f16"],
      ["perplexity", "--model", Models.path("bert"), "--file", model],
      ["perplexity", "--model", model, "--file", scratch.path("none.txt")],
    ] {
      let outcome = try run(arguments)
      #expect(outcome.status == 1 && outcome.output.isEmpty, "\(arguments): \(outcome.errors)")
      #expect(outcome.errors.split(separator: "\n").count == 1)
    }
    #expect(!FileManager.default.fileExists(atPath: scratch.path("x.gguf")))
  }
}
