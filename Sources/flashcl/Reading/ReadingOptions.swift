import ArgumentParser
import FlashCL
import FlashCLModels

/// What the commands that read a text have in common.
struct ReadingOptions: ParsableArguments {
  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: ArrayFormatOption
  @Flag(help: "Cut a text that is longer than the model takes, instead of refusing it.")
  var truncate = false

  var isJSON: Bool { output.isJSON }
  var isArray: Bool { output.isArray }

  /// The model, whose head must answer this question.
  func load(_ task: EncoderTask) throws -> EncoderModel {
    let loaded = try EncoderModel(model.model, for: task, on: device.backend(), progress: Terminal.loading)
    loaded.truncates = truncate
    return loaded
  }
}
