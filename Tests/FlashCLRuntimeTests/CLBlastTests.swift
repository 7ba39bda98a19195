import CCLBlast
import Testing

@testable import FlashCLRuntime

@Suite struct CLBlastTests {
  @Test(.enabled(if: fcl_clblast_available(), "libclblast.so.1 is not installed"))
  func multipliesOnOurQueue() throws {
    let queue = try makeQueue()
    let a = try queue.allocate(24)
    let b = try queue.allocate(24)
    let c = try queue.allocate(16)
    try queue.write([1, 2, 3, 4, 5, 6] as [Float], to: a)  // [2, 3]
    try queue.write([1, 0, 0, 1, 1, 1] as [Float], to: b)  // [3, 2]
    try queue.fill(c)
    let status = queue.withRawQueue { raw in
      var queue: OpaquePointer? = raw
      return fcl_CLBlastSgemm(
        CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, 2, 2, 3, 1, a.raw, 0, 3, b.raw, 0, 2,
        0,
        c.raw, 0, 2, &queue, nil)
    }
    #expect(status == CLBlastSuccess)
    #expect(try queue.read(c, count: 4, as: Float(0)) == [4, 5, 10, 11])
  }
}
