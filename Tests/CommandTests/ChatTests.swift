import Foundation
import Testing

/// `chat` and `tokenize --chat`, on a tiny model with a template.
@Suite struct ChatTests {
  let scratch: Scratch
  let model: String

  private static let template =
    "{% for m in messages %}<s>{{ m.role[0] }}:{{ m.content }}</s>{% endfor %}"
    + "{% if messages[0].content == 'no' %}{{ raise_exception('Not that.') }}{% endif %}"
    + "{% if add_generation_prompt %}<s>a:{% endif %}"

  init() throws {
    scratch = try Scratch()
    model = try Models.llama(in: scratch)
    let config = try JSONSerialization.data(withJSONObject: [
      "chat_template": Self.template, "eos_token": "</s>",
    ])
    try config.write(to: URL(fileURLWithPath: model + "/tokenizer_config.json"))
  }

  private func write(_ name: String, _ text: String) throws -> String {
    let path = scratch.path(name)
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return path
  }

  private func chat(_ lines: String, _ arguments: String...) throws -> Outcome {
    try run(
      ["chat", "--model", model, "--max-tokens", "5"] + arguments,
      input: FileHandle(forReadingFrom: URL(fileURLWithPath: write("input", lines))))
  }

  private func messages(_ path: String) throws -> [[String: String]] {
    try #require(
      try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path)))
        as? [[String: String]])
  }

  // MARK: - tokenize --chat

  @Test func tokenizeWritesTheConversation() throws {
    let file = try write("m.json", #"[{"role": "user", "content": "ab"}]"#)
    let json = try run("tokenize", "--model", model, "--chat", file).json()
    #expect(json["text"] as? String == "<s>u:ab</s>")
    let ids = try #require(json["ids"] as? [Int])
    #expect(ids.first == 1 && ids.last == 2 && ids.count == 6)
    let prompt = try run(
      "tokenize", "--model", model, "--chat", file, "--add-generation-prompt", "--format", "json")
    #expect(try prompt.json()["text"] as? String == "<s>u:ab</s><s>a:")
    let asked = try write(
      "a.json", #"{"messages": [{"role": "user", "content": "ab"}], "add_generation_prompt": true}"#)
    let own = try run("tokenize", "--model", model, "--chat", asked, "--format", "json")
    #expect(try own.json()["text"] as? String == "<s>u:ab</s><s>a:")
    let object = try write("o.json", #"{"messages": [{"role": "user", "content": "ab"}], "tools": null}"#)
    let lines = try run("tokenize", "--model", model, "--chat", object, "--format", "text").output.split(
      separator: "\n")
    #expect(lines.count == 6 && lines[0] == "1\t<s>")
  }

  /// As `transformers` ends it, with white space where the template keeps it.
  @Test func aFinalMessageIsContinued() throws {
    let file = try write(
      "m.json", #"[{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c "}]"#)
    let json = try run(
      "tokenize", "--model", model, "--chat", file, "--continue-final-message", "--format", "json")
    #expect(try json.json()["text"] as? String == "<s>u:ab</s><s>a:c ")
    let parts = #"[{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}]"#
    let ends = try run(
      "tokenize", "--model", model, "--chat", write("p.json", parts), "--continue-final-message", "--format",
      "json")
    #expect(try ends.json()["text"] as? String == "<s>u:[{'type': 'text', 'text': 'a")
    let none = try run(
      "tokenize", "--model", model, "--chat", write("n.json", #"[{"role": "user", "content": null}]"#),
      "--continue-final-message")
    #expect(none.status == 1 && none.errors.contains("no text to continue"), "\(none.errors)")
    #expect(
      try run(
        "tokenize", "--model", model, "--chat", file, "--continue-final-message", "--add-generation-prompt"
      )
      .status == 2)
  }

  @Test(arguments: [
    ("[", 1, "line 1"), ("{}", 1, "messages"), ("[{\"role\": 3}]", 1, "role"),
    ("[]", 1, "at least one message"), ("{\"messages\": [], \"documents\": 1}", 1, "'documents'"),
    ("[{\"role\": \"user\", \"content\": \"no\"}]", 1, "refuses the conversation: Not that."),
    ("[{\"role\": \"user\", \"content\": {}}, {\"role\": \"\"}]", 0, ""),
  ])
  func badConversations(text: String, status: Int32, words: String) throws {
    let result = try run("tokenize", "--model", model, "--chat", write("m.json", text))
    #expect(result.status == status && (words.isEmpty || result.errors.contains(words)), "\(result.errors)")
  }

  // MARK: - chat

  @Test func oneAnswer() throws {
    let arguments = ["chat", "--model", model, "--message", "hello", "--once", "--max-tokens", "6"]
    let text = try run(arguments)
    let json = try run(arguments + ["--format", "json"]).json()
    let answer = try #require(json["text"] as? String)
    #expect(text.status == 0 && text.output == answer + "\n")
    let rendered = try write("m.json", #"[{"role": "user", "content": "hello"}]"#)
    let prompt =
      try run(
        "tokenize", "--model", model, "--chat", rendered, "--add-generation-prompt", "--format", "json"
      ).json()["ids"] as? [Int]
    #expect(json["prompt_tokens"] as? [Int] == prompt)
    #expect((json["tokens"] as? [Int])?.count == 6 && json["finish_reason"] as? String == "length")
    let told = try run(arguments + ["--system", "s", "--format", "json"]).json()["prompt_tokens"] as? [Int]
    #expect((told?.count ?? 0) == (prompt?.count ?? 0) + 5)
  }

  /// History in the cache answers as history computed anew does.
  @Test func aScriptedSession() throws {
    let (first, second) = (scratch.path("first.json"), scratch.path("second.json"))
    let result = try chat(
      "hello\n//slash\n/save \(first)\n\n/load \(first)\nmore\n/save \(second)\n/exit\nnever\n")
    #expect(result.status == 0, "\(result.errors)")
    let saved = try messages(first)
    #expect(saved.map { $0["role"] } == ["user", "assistant", "user", "assistant"])
    #expect(saved[0]["content"] == "hello" && saved[2]["content"] == "/slash")
    let all = try messages(second)
    #expect(all.count == 6 && Array(all[..<4]) == saved && all[4]["content"] == "more")
    #expect(result.output == [1, 3, 5].map { (all[$0]["content"] ?? "") + "\n" }.joined())
    // A fresh session that reads the history says the same.
    let again = try chat("/load \(first)\nmore\n")
    #expect(again.status == 0 && again.output == (all[5]["content"] ?? "") + "\n", "\(again.errors)")
    // And after a reset the first answer comes again.
    let reset = try chat("hello\n/reset\nhello")
    let lines = reset.output.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.count == 3 && lines[0] == lines[1])
  }

  @Test(arguments: [
    ("no\n", "Not that."), ("/load /nonexistent\n", "/nonexistent"), ("/load\n", "name of a file"),
    ("/what\n", "/what is unknown"), ("/save /nonexistent/x\n", "/nonexistent/x"),
  ])
  func aScriptEndsAtTheFirstFailure(lines: String, words: String) throws {
    let result = try chat(lines + "hello\n")
    #expect(result.status == 1 && result.output == "" && result.errors.contains(words), "\(result.errors)")
  }

  @Test func badFilesAreRefused() throws {
    for text in ["{", "[1]", #"{"messages": 5}"#, #"[{"role": "user", "content": "no"}]"#] {
      let result = try chat("/load \(try write("bad.json", text))\n")
      #expect(result.status == 1 && result.output == "", "\(text): \(result.errors)")
    }
    #expect(try run("chat", "--model", Models.path("llama-tied"), "--message", "a", "--once").status == 1)
  }

  /// Tools and variables of a conversation are the template's, and are saved with it.
  @Test func whatIsLoadedIsSaved() throws {
    let object =
      #"{"messages":[{"content":"a","role":"user"}],"tools":[{"name":"f"}],"enable_thinking":false}"#
    let (from, to) = (try write("from.json", object), scratch.path("to.json"))
    let result = try chat("/load \(from)\n/save \(to)\n")
    #expect(result.status == 0, "\(result.errors)")
    let saved = try String(decoding: Data(contentsOf: URL(fileURLWithPath: to)), as: UTF8.self)
    #expect(saved.utf8.sorted() == (object + "\n").utf8.sorted(), "\(saved)")
  }

  @Test func whatIsNoTextIsRefused() throws {
    let input = scratch.path("input")
    try Data([0xFF, 0x0A]).write(to: URL(fileURLWithPath: input))
    let result = try run(
      ["chat", "--model", model, "--max-tokens", "5"],
      input: FileHandle(forReadingFrom: URL(fileURLWithPath: input)))
    #expect(result.status == 1 && result.output == "", "\(result.errors)")
    #expect(result.errors == "flashcl: the message is not valid UTF-8\n")
  }

  @Test func aFullContextIsTold() throws {
    let long = String(repeating: "z", count: 60)
    let result = try chat("\(long)\n\(long)\n")
    #expect(result.status == 1 && result.errors.contains("the context is full"), "\(result.errors)")
    let small = try chat("hello\n", "--context", "16")
    #expect(small.status == 0 && small.errors.contains("the context is full"), "\(small.errors)")
    #expect(try chat("hello\n", "--context", "999").status == 1)
  }

  @Test(arguments: [
    ["--once"], ["--format", "json"], ["--message", ""], ["--context", "0"], ["--temperature", "-1"],
    ["--stop", ""],
  ])
  func badUsage(arguments: [String]) throws {
    #expect(try run(["chat", "--model", model] + arguments).status == 2)
  }
}
