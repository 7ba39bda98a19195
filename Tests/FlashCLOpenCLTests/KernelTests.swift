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

  /// Every case with every strategy, and afterwards: no kernel that no case has launched.
  @Test func everyCasePassesAndLaunchesEveryKernel() async throws {
    // Compiling takes the time, and a driver compiles one program of a context after the other.
    let parts = 2
    let launched = try await withThrowingTaskGroup(of: Set<String>.self) { group in
      for part in 0..<parts {
        group.addTask {
          let backend = try OpenCLBackend(Device.select())
          let all = Case.all.filter { $0.purpose == .check }
          let own = all.indices.filter { $0 % parts == part }.map { all[$0] }
          try Runner(backend, cases: own).check { result in
            if result.outcome == .failed {
              Issue.record("\(result.case): \(result.reason ?? ""); repeat it with \(result.command)")
            }
          }
          if part == 0 { _ = try backend.measureCeilings() }
          return backend.launchedKernels
        }
      }
      return try await group.reduce(into: Set<String>()) { $0.formUnion($1) }
    }
    var declared: Set<String> = []
    for name in try Self.files() {
      let text = try String(contentsOf: Self.folder.appendingPathComponent(name), encoding: .utf8)
      for match in text.matches(of: /__kernel[^;{]*?void\s+(\w+)\s*\(/) { declared.insert(String(match.1)) }
    }
    #expect(declared.count > 20)
    var missing = declared.subtracting(launched)
    // Without the library its two helpers have nothing to help.
    if !launched.contains("linear_unpack") {
      missing.subtract(["linear_unpack", "linear_epilogue"])
    }
    #expect(missing == [])
  }
}
