// swift-tools-version: 6.2
import Foundation
import PackageDescription

// Without OpenCL's headers the runtime, its backend and the command are left out; the vocabulary, the reference, files,
// tokenizers and models still build and pass their tests.
let environment = ProcessInfo.processInfo.environment
let headers = ["/usr/include/CL/cl.h", "/usr/local/include/CL/cl.h"]
let hasOpenCL =
  environment["FLASHCL_NO_OPENCL"] == nil && headers.contains(where: FileManager.default.fileExists)

// MARK: - Products

var products: [Product] = [
  .library(
    name: "FlashCL",
    targets: [
      "FlashCL", "FlashCLReference", "FlashCLFiles", "FlashCLTokenizers", "FlashCLTemplates", "FlashCLModels",
      "FlashCLConversion",
    ])
]

// MARK: - Implementation

var targets: [Target] = [
  .target(name: "FlashCL"),
  .target(name: "FlashCLReference", dependencies: ["FlashCL"]),
  .target(name: "FlashCLCases", dependencies: ["FlashCL", "FlashCLReference"]),
  .target(name: "FlashCLFiles", dependencies: ["FlashCL"]),
  .target(name: "FlashCLTokenizers"),
  .target(name: "FlashCLTemplates"),
  .target(
    name: "FlashCLModels", dependencies: ["FlashCL", "FlashCLFiles", "FlashCLTokenizers", "FlashCLTemplates"]),
  .target(
    name: "FlashCLConversion",
    dependencies: ["FlashCL", "FlashCLReference", "FlashCLFiles", "FlashCLModels", "FlashCLTokenizers"]),
]

// MARK: - Unit test bundles

/// Model tests run on the reference, and on OpenCL where it is there.
let modelTests = Target.testTarget(
  name: "ModelTests", dependencies: ["FlashCLModels", "FlashCLReference", "FlashCLConversion"],
  exclude: ["Fixtures"])

targets += [
  .testTarget(name: "FlashCLReferenceTests", dependencies: ["FlashCLReference"], exclude: ["Fixtures"]),
  .testTarget(name: "FlashCLCasesTests", dependencies: ["FlashCLCases"]),
  .testTarget(name: "FlashCLFilesTests", dependencies: ["FlashCL", "FlashCLFiles"], exclude: ["Fixtures"]),
  .testTarget(
    name: "FlashCLTokenizersTests", dependencies: ["FlashCLFiles", "FlashCLModels", "FlashCLTokenizers"],
    exclude: ["Fixtures"]),
  .testTarget(
    name: "FlashCLTemplatesTests", dependencies: ["FlashCLFiles", "FlashCLModels", "FlashCLTemplates"],
    exclude: ["Fixtures"]),
  modelTests,
]

// MARK: - What needs OpenCL

if hasOpenCL {
  products += [
    .library(name: "FlashCLOpenCL", targets: ["FlashCLRuntime", "FlashCLOpenCL"]),
    .executable(name: "flashcl", targets: ["flashcl"]),
  ]
  targets += [
    .target(name: "COpenCL", linkerSettings: [.linkedLibrary("dl")]),
    .target(name: "CCLBlast", dependencies: ["COpenCL"], linkerSettings: [.linkedLibrary("dl")]),
    .target(name: "FlashCLKernels", path: "Kernels", sources: ["embed.c"], publicHeadersPath: "include"),
    .target(name: "FlashCLRuntime", dependencies: ["COpenCL"]),
    .target(
      name: "FlashCLOpenCL", dependencies: ["FlashCL", "FlashCLRuntime", "FlashCLKernels", "CCLBlast"]),
    .executableTarget(
      name: "flashcl",
      dependencies: [
        "FlashCL", "FlashCLReference", "FlashCLCases", "FlashCLFiles", "FlashCLTokenizers",
        "FlashCLTemplates", "FlashCLModels", "FlashCLConversion", "FlashCLRuntime", "FlashCLOpenCL",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .testTarget(name: "FlashCLRuntimeTests", dependencies: ["FlashCLRuntime", "CCLBlast"]),
    .testTarget(name: "FlashCLOpenCLTests", dependencies: ["FlashCLOpenCL", "FlashCLCases"]),
    .testTarget(name: "CommandTests", dependencies: ["flashcl"], exclude: ["Fixtures"]),
  ]
  modelTests.dependencies += ["FlashCLOpenCL", "FlashCLRuntime"]
}

let package = Package(
  name: "FlashCL",
  products: products,
  dependencies: hasOpenCL
    ? [.package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")] : [],
  targets: targets,
  swiftLanguageModes: [.v6],
  cLanguageStandard: .gnu2x
)
