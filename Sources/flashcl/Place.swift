import ArgumentParser
import FlashCL
import FlashCLOpenCL
import FlashCLReference
import FlashCLRuntime

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// `--device`, for every subcommand that computes.
struct DeviceOption: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: """
      cpu (the reference), gpu (the best OpenCL device), gpu:1, or a piece of a device's or platform's name. \
      FLASHCL_DEVICE sets the default; without it, gpu where there is one.
      """)
  var device: String?

  /// What was asked for, on the command line or by FLASHCL_DEVICE.
  var wanted: String? {
    device ?? ProcessInfo.processInfo.environment["FLASHCL_DEVICE"].flatMap { $0.isEmpty ? nil : $0 }
  }

  /// The backend that was asked for; where nothing was and OpenCL has no device, the reference, and a line that says so.
  ///
  /// On a device that is met for the first time, probes run in a child, each for at most `limit` seconds; `again` retries
  /// those that failed.
  func backend(profiling: Bool = false, again: Bool = false, limit: Double = 60) throws -> any Backend {
    if wanted?.lowercased() == "cpu" { return ReferenceBackend() }
    let device: Device
    do {
      device = try Device.select(wanted)
    } catch {
      guard wanted == nil else { throw error }
      Terminal.say("flashcl: \(error); computing on the CPU reference, slowly")
      return ReferenceBackend()
    }
    let isByKind = wanted.map { $0.lowercased().hasPrefix("gpu") } ?? true
    if device.kind == .cpu && isByKind { Terminal.say("flashcl: no GPU; computing on \(device)") }
    return try Self.backend(device, profiling: profiling, again: again, limit: limit)
  }

  /// True for `--device all`, which only `backends` understands.
  var isAll: Bool { wanted?.lowercased() == "all" }

  /// The backend that was asked for, or one on every OpenCL device.
  func backends(again: Bool = false, limit: Double = 60) throws -> [any Backend] {
    guard isAll else { return [try backend(again: again, limit: limit)] }
    let devices = try Device.all()
    if devices.isEmpty {
      throw CLError.noDevice("all", available: [], advice: Device.missingDriverAdvice(for: devices))
    }
    return try devices.map { try Self.backend($0, again: again, limit: limit) }
  }

  private static func backend(
    _ device: Device, profiling: Bool = false, again: Bool = false, limit: Double = 60
  ) throws -> OpenCLBackend {
    try FirstContact.meet(device, again: again, limit: limit)
    let backend = try OpenCLBackend(device, profiling: profiling)
    backend.queue.onSlowBuild = { if Terminal.isWatched { Terminal.say($0) } }
    backend.onDetour = { Terminal.say("flashcl: " + $0) }
    return backend
  }
}

/// `--model`.
struct ModelOption: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: "A .gguf file, or a folder with config.json and model.safetensors.")
  var model: String
}
