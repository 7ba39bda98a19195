import FlashCLFiles
import FlashCLModels
import FlashCLTemplates
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Where models keep their chat templates.
@Suite struct ChatTemplateTests {
  private func render(
    _ files: [String: String], _ conversation: String = #"[{"role": "user", "content": "Hi"}]"#
  )
    throws -> String
  {
    let folder = FileManager.default.temporaryDirectory.appending(path: "flashcl-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var files = files.mapValues { Array($0.utf8) }
    files["config.json"] = Array("{}".utf8)
    files["model.safetensors"] = [8, 0, 0, 0, 0, 0, 0, 0] + Array("{}      ".utf8)
    for (name, bytes) in files { try Data(bytes).write(to: folder.appending(path: name)) }
    let template = try ChatTemplate(ModelSource.open(folder.path()))
    return try template.render(
      Conversation(JSON(parsing: conversation), name: "conversation"), addGenerationPrompt: true,
      now: TemplateTime(year: 2026, month: 1, day: 2))
  }

  @Test func aFileComesBeforeTheConfiguration() throws {
    let config = #"{"chat_template": "config", "bos_token": {"content": "<b>"}, "eos_token": "<e>"}"#
    #expect(try render(["tokenizer_config.json": config]) == "config")
    let file =
      "{{ bos_token }}{{ eos_token }}{{ messages[0].content }}{{ strftime_now('%d') }}{{ pad_token is defined }}"
    #expect(
      try render(["tokenizer_config.json": config, "chat_template.jinja": file + "\n"]) == "<b><e>Hi02False")
    #expect(
      try render([
        "special_tokens_map.json": #"{"bos_token": "<x>"}"#, "chat_template.jinja": "{{ bos_token }}",
        "tokenizer_config.json": #"{"additional_special_tokens": ["a"]}"#,
      ]) == "<x>")
  }

  @Test func namedTemplatesAreChosenByTools() throws {
    let config = """
      {"chat_template": [{"name": "default", "template": "plain{{ tools }}"},
      {"name": "tool_use", "template": "tools {{ tools|length }}"}]}
      """
    #expect(try render(["tokenizer_config.json": config]) == "plainNone")
    let tools = #"{"messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function"}]}"#
    #expect(try render(["tokenizer_config.json": config], tools) == "tools 1")
    let other = #"{"chat_template": [{"name": "rag", "template": "x"}]}"#
    #expect(throws: ModelError.self) { try render(["tokenizer_config.json": other]) }
  }

  @Test(
    arguments: [
      ([:], "[{\"role\": \"user\"}]", "no chat template"),
      (["chat_template.jinja": "{% if %}"], "[{\"role\": \"user\"}]", "line 1, column 7"),
      (
        ["chat_template.jinja": "{{ raise_exception('No cats.') }}"], "[{\"role\": \"user\"}]",
        "refuses the conversation: No cats."
      ),
      (
        ["chat_template.jinja": "{{ messages[0].content + 1 }}"], "[{\"role\": \"user\"}]",
        "no attribute 'content'"
      ),
      (["chat_template.jinja": "x"], "[]", "at least one message"),
      (["chat_template.jinja": "x"], "5", "a list of messages"),
      (["chat_template.jinja": "x"], "[{\"content\": \"a\"}]", "'role'"),
      (["chat_template.jinja": "x"], "{\"messages\": [{\"role\": \"a\"}], \"tools\": 3}", "'tools'"),
    ] as [([String: String], String, String)])
  func whatIsWrongIsTold(files: [String: String], conversation: String, words: String) {
    let error = #expect(throws: ModelError.self) { try render(files, conversation) }
    #expect(error.map { "\($0)".contains(words) } == true, "\(error.map { "\($0)" } ?? "")")
  }

  private static let smolLM2 =
    FileManager.default.homeDirectoryForCurrentUser.path()
    + "/.cache/flashcl/models/SmolLM2-135M-Instruct.Q4_1.gguf"

  /// ChatML, with a system message of its own where there is none.
  @Test(.enabled(if: FileManager.default.fileExists(atPath: smolLM2)))
  func smolLM2WritesChatML() throws {
    let source = try ModelSource.open(Self.smolLM2)
    let text = try ChatTemplate(source).render(
      Conversation([Conversation.message("system", "Be brief."), Conversation.message("user", "Hi")]),
      addGenerationPrompt: true)
    #expect(
      text
        == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    let ids = try TokenizerFiles.load(source).ids(ofRendered: text)
    #expect(ids.first == 1 && ids.count { $0 == 2 } == 2)
  }
}
