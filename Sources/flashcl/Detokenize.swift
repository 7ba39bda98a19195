import ArgumentParser
import FlashCLFiles
import FlashCLModels

struct Detokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detokenize", abstract: "Turns token ids into the text that they spell.",
    discussion: "Example: flashcl detokenize --model SmolLM2.gguf --ids 504,3575,282,4649")

  @OptionGroup var model: ModelOption
  @OptionGroup var output: FormatOption
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Token ids, as 1,2,3.", valueName: "ids"),
    transform: TokenIDs.init)
  var ids: TokenIDs
  @Flag(help: "Spell special tokens, which are left out otherwise.")
  var special = false

  func run() throws {
    let tokenizer = try TokenizerFiles.load(ModelSource.open(model.model))
    let ids = try ids.checked(vocabulary: tokenizer.vocabularySize)
    let text = try tokenizer.decode(ids, skipSpecial: !special)
    if output.isJSON { return try Output.json(["text": text]) }
    try Output.line(text)
  }
}
