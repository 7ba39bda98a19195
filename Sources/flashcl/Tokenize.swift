import ArgumentParser
import FlashCLFiles
import FlashCLModels

struct Tokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize", abstract: "Turns a text into token ids.",
    discussion: """
      Prints one token a line: id, tab, piece. The text is taken as it is: special tokens in it are ordinary text, and \
      none are added, unless --special asks for them. --chat reads a conversation, a list of {role, content} or an \
      object with messages, tools, documents and what else the template asks for, and writes it by the model's chat \
      template, whose special tokens count; its result is JSON, text and all, unless --format says otherwise.
      Example: flashcl tokenize --model SmolLM2.gguf --text 'The capital of France'
      """)

  @OptionGroup var model: ModelOption
  @Option(
    help: ArgumentHelp(
      "How to print the result (default: text; of a conversation json).", valueName: "text|json"))
  var format: Format?
  @Option(parsing: .unconditional, help: "The text.")
  var text: String?
  @Option(parsing: .unconditional, help: "A file with the text, read byte for byte.")
  var file: String?
  @Option(parsing: .unconditional, help: "A JSON file with a conversation.")
  var chat: String?
  @Flag(help: "With --chat: end with what begins the assistant's answer.")
  var addGenerationPrompt = false
  @Flag(help: "With --chat: end with the text of the last message, for the model to continue.")
  var continueFinalMessage = false
  @Flag(help: "Find special tokens in the text, and add those that the model wants around it.")
  var special = false

  func validate() throws {
    guard [text, file, chat].count(where: { $0 != nil }) == 1 else {
      throw ValidationError("give one of --text, --file and --chat")
    }
    if chat != nil && special { throw ValidationError("--special is for --text and --file") }
    if chat == nil && addGenerationPrompt { throw ValidationError("--add-generation-prompt is for --chat") }
    if chat == nil && continueFinalMessage { throw ValidationError("--continue-final-message is for --chat") }
    if addGenerationPrompt && continueFinalMessage {
      throw ValidationError("give one of --add-generation-prompt and --continue-final-message")
    }
  }

  func run() throws {
    if let chat { return try write(conversation: chat) }
    let bytes = try text.map { Array($0.utf8) } ?? file.map(contents(of:)) ?? []
    let tokenizer = try TokenizerFiles.load(ModelSource.open(model.model))
    let ids = try tokenizer.encode(bytes, special: special)
    let pieces = try ids.map(tokenizer.piece(of:))
    try write(ids, pieces)
  }

  private func write(conversation path: String) throws {
    let source = try ModelSource.open(model.model)
    let conversation = try Conversation(JSON(MappedFile(path)), name: path)
    let text = try ChatTemplate(source).render(
      conversation, addGenerationPrompt: addGenerationPrompt || conversation.addsGenerationPrompt,
      continueFinalMessage: continueFinalMessage || conversation.continuesFinalMessage)
    let tokenizer = try TokenizerFiles.load(source)
    let ids = try tokenizer.ids(ofRendered: text)
    try write(ids, ids.map(tokenizer.piece(of:)), text: text)
  }

  private func write(_ ids: [Int32], _ pieces: [String], text: String? = nil) throws {
    if format ?? (chat == nil ? .text : .json) == .json {
      return try Output.json(Report(ids: ids, pieces: pieces, text: text))
    }
    try Output.write(zip(ids, pieces).map { "\($0)\t\(escaped($1))\n" }.joined())
  }

  private struct Report: Encodable {
    let ids: [Int32]
    let pieces: [String]
    let text: String?
  }
}
