import FlashCL
import FlashCLCases
import FlashCLKernels
import FlashCLRuntime
import Foundation
import Testing

@testable import FlashCLOpenCL

/// The claims of every case table, on the best OpenCL device of this machine, and the lists that must name every kernel.
@Suite(.serialized) struct KernelTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Kernels")

  private static func files() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".cl") }.sorted()
  }

  @Test func everyKernelFileIsEmbedded() throws {
    #expect(try KernelFile.names.sorted() == Self.files())
    for name in KernelFile.names {
      let text = try String(contentsOf: Self.folder.appendingPathComponent(name), encoding: .utf8)
      let index = try #require(KernelFile.names.firstIndex(of: name))
      #expect(String(cString: flashcl_kernel_file_text(Int32(index))) == text)
    }
  }

  /// Every case with every strategy, and afterwards: no kernel that no case has launched. Attention by the strategies of GPUs, which
  /// compile for as long as all others together, is tried in another process by `CheckTests`, side by side with this.
  @Test func everyCasePassesAndLaunchesEveryKernel() throws {
    let backend = try OpenCLBackend(Device.select())
    try Runner(backend).check(#"^(?!attention\(strategy=(split|tiled),)"#) { result in
      if result.outcome == .failed {
        Issue.record("\(result.case): \(result.reason ?? ""); repeat it with \(result.command)")
      }
    }
    _ = try backend.measureCeilings()
    var declared: Set<String> = []
    for name in try Self.files() {
      let text = try String(contentsOf: Self.folder.appendingPathComponent(name), encoding: .utf8)
      for match in text.matches(of: /__kernel[^;{]*?void\s+(\w+)\s*\(/) { declared.insert(String(match.1)) }
    }
    #expect(declared.count > 20)
    var missing = declared.subtracting(backend.launchedKernels).subtracting([
      "attention_split", "attention_tiled",
    ])
    // Without the library its two helpers have nothing to help.
    if !backend.launchedKernels.contains("linear_unpack") {
      missing.subtract(["linear_unpack", "linear_epilogue"])
    }
    #expect(missing == [])
  }
}
