import CCLBlast
import FlashCL
import FlashCLRuntime

extension Linear {
  private static let plainFile = KernelFile("linear_plain", including: ["weights", "linear"])

  /// The library's product of matrices, on weights that are laid out plainly for it.
  static let clblast = Strategy<Linear>(
    "clblast",
    unfit: { op, _ in
      if let reason = op.prefillUnfit { return reason }
      if op.weight.type.isQuantised { return "made for plain weights" }
      return fcl_clblast_available() ? nil : "libclblast.so.1 is not installed"
    }
  ) { op, launcher in
    let (rows, inputs) = (op.x.rows, op.x.columns)
    for part in try op.weight.parts() {
      let plain = try launcher.queue.allocate(4 * part.outputs * inputs)
      let product = try launcher.queue.allocate(4 * rows * part.outputs)
      try launcher.launch(
        "linear_unpack", in: plainFile, ["W_TYPE": part.type.rawValue], global: [inputs, part.outputs],
        [.buffer(part.tiles), .buffer(plain), .uint(inputs), .uint(part.outputs)])
      let x = try op.x.buffer()
      let status = launcher.queue.withRawQueue { raw in
        var queue: OpaquePointer? = raw
        return fcl_CLBlastSgemm(
          CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, rows, part.outputs, inputs, 1,
          x.raw,
          op.x.offset, inputs, plain.raw, 0, inputs, 0, product.raw, 0, part.outputs, &queue, nil)
      }
      guard status == CLBlastSuccess else {
        throw FlashCLError.unsupported(
          "linear by clblast: the library answered with status \(status.rawValue)")
      }
      try launcher.launch(
        "linear_epilogue", in: plainFile, ["W_TYPE": part.type.rawValue], global: [part.outputs, rows],
        [
          .buffer(product), .tensor(op.bias), .tensor(op.residual), .tensor(op.y), .uint(rows),
          .uint(part.outputs),
          .uint(op.weight.outputs), .uint(part.first), .int(op.activation.code),
        ])
    }
  }
}
