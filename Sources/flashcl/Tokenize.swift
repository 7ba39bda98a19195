import ArgumentParser
import FlashCLFiles
import FlashCLModels

struct Tokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize", abstract: "Turns a text into token ids.",
    discussion: """
      Prints one token a line: id, tab, piece. The text is taken as it is: special tokens in it are ordinary text, and \
      none are added, unless --special asks for them.
      Example: flashcl tokenize --model SmolLM2.gguf --text 'The capital of France'
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var output: FormatOption
  @Option(parsing: .unconditional, help: "The text.")
  var text: String?
  @Option(parsing: .unconditional, help: "A file with the text, read byte for byte.")
  var file: String?
  @Flag(help: "Find special tokens in the text, and add those that the model wants around it.")
  var special = false

  func validate() throws {
    if (text == nil) == (file == nil) { throw ValidationError("give either --text or --file") }
  }

  func run() throws {
    let bytes = try text.map { Array($0.utf8) } ?? file.map(contents(of:)) ?? []
    let tokenizer = try TokenizerFiles.load(ModelSource.open(model.model))
    let ids = try tokenizer.encode(bytes, special: special)
    let pieces = try ids.map(tokenizer.piece(of:))
    if output.isJSON { return try Output.json(Report(ids: ids, pieces: pieces)) }
    try Output.write(zip(ids, pieces).map { "\($0)\t\(escaped($1))\n" }.joined())
  }

  private struct Report: Encodable {
    let ids: [Int32]
    let pieces: [String]
  }
}
