import COpenCL

/// The text of a program, under the name that build errors give it.
public struct Source: Hashable, Sendable {
  public let name: String
  /// The whole text, with a line marker before each part.
  public let text: String
  let fingerprint: Fingerprint

  /// A program's text; `prelude` stands before it, and errors in it carry the prelude's own name and lines.
  public init(name: String, text: String, prelude: Source? = nil) {
    self.name = name
    self.text = (prelude.map { $0.text + "\n" } ?? "") + "#line 1 \"\(name)\"\n" + text
    var fingerprint = Fingerprint()
    fingerprint.combine(self.text)
    self.fingerprint = fingerprint
  }

  // A program is looked up for each kernel that is made: comparing fingerprints spares comparing the texts.
  public static func == (a: Source, b: Source) -> Bool { a.fingerprint == b.fingerprint }
  public func hash(into hasher: inout Hasher) { hasher.combine(fingerprint) }
}

/// A kernel function, ready to launch on the queue that made it and on no other.
public final class Kernel {
  public let name: String
  public let argumentCount: Int
  /// The largest work-group that this kernel can run with, and the size whose multiples suit the device.
  public let maxWorkGroup, preferredMultiple: Int
  let raw: cl_kernel
  private let program: Program

  init(_ name: String, in program: Program, of source: Source, on device: Device) throws(CLError) {
    var code: cl_int = 0
    let kernel = cl.clCreateKernel(program.raw, name, &code)
    try check(code, "clCreateKernel", "\(name) in \(source.name)")
    guard let kernel else { throw .call("clCreateKernel", code: code, context: name) }
    var arguments: cl_uint = 0
    _ = cl.clGetKernelInfo(kernel, cl_kernel_info(CL_KERNEL_NUM_ARGS), 4, &arguments, nil)
    func size(_ property: Int32) -> Int {
      var value = 0
      let code = cl.clGetKernelWorkGroupInfo(
        kernel, device.id, cl_uint(property), MemoryLayout<Int>.size, &value, nil)
      return code == CL_SUCCESS ? value : 1
    }
    self.name = name
    raw = kernel
    argumentCount = Int(arguments)
    maxWorkGroup = size(CL_KERNEL_WORK_GROUP_SIZE)
    preferredMultiple = size(CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE)
    self.program = program
  }

  private init(_ other: Kernel, _ raw: cl_kernel) {
    (name, self.raw, argumentCount) = (other.name, raw, other.argumentCount)
    (maxWorkGroup, preferredMultiple) = (other.maxWorkGroup, other.preferredMultiple)
    program = other.program
  }

  /// The same function as a kernel with arguments of its own.
  func copy() throws(CLError) -> Kernel {
    var code: cl_int = 0
    let kernel = cl.clCreateKernel(program.raw, name, &code)
    try check(code, "clCreateKernel", "another \(name)")
    guard let kernel else { throw .call("clCreateKernel", code: code, context: name) }
    return Kernel(self, kernel)
  }

  deinit { _ = cl.clReleaseKernel(raw) }
}

/// A program built for one device of one context.
final class Program {
  let raw: cl_program

  private init(_ raw: cl_program) { self.raw = raw }

  deinit { _ = cl.clReleaseProgram(raw) }

  /// Compiles a text; throws `CLError.build` with the log when the compiler refuses it.
  static func compiled(
    _ text: String, name: String, options: String, in context: Context, on device: Device
  ) throws(CLError) -> Program {
    var code: cl_int = 0
    var text = text
    let created = text.withUTF8 { utf8 -> cl_program? in
      var length = utf8.count
      return utf8.withMemoryRebound(to: CChar.self) { characters in
        var start = characters.baseAddress
        return cl.clCreateProgramWithSource(context.raw, 1, &start, &length, &code)
      }
    }
    try check(code, "clCreateProgramWithSource", name)
    guard let created else { throw .call("clCreateProgramWithSource", code: code, context: name) }
    let program = Program(created)
    code = program.build(options, on: device)
    if code == CL_SUCCESS { return program }
    let log = readText {
      cl.clGetProgramBuildInfo(created, device.id, cl_uint(CL_PROGRAM_BUILD_LOG), $0, $1, $2)
    }
    let errors = firstErrors(in: log)
    // Full memory and a lost device are no fault of the program, whatever the log says.
    let isOfProgram = ![
      CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_DEVICE_NOT_AVAILABLE,
    ].contains(code)
    if errors.isEmpty || !isOfProgram {
      throw .call("clBuildProgram", code: code, context: ([name] + errors).joined(separator: "; "))
    }
    throw .build(program: name, errors: errors, log: log)
  }

  /// Takes a binary that this very driver made; nil when the driver wants none of it.
  static func loaded(_ binary: [UInt8], options: String, in context: Context, on device: Device) -> Program? {
    var id: cl_device_id? = device.id
    var length = binary.count
    var status: cl_int = 0
    var code: cl_int = 0
    let created = binary.withUnsafeBufferPointer { bytes in
      var start = bytes.baseAddress
      return cl.clCreateProgramWithBinary(context.raw, 1, &id, &length, &start, &status, &code)
    }
    guard let created else { return nil }
    let program = Program(created)
    guard code == CL_SUCCESS, status == CL_SUCCESS else { return nil }
    return program.build(options, on: device) == CL_SUCCESS ? program : nil
  }

  /// The device's machine code, to be kept; empty when the driver gives none.
  var binary: [UInt8] {
    var size = 0
    let known = cl.clGetProgramInfo(
      raw, cl_program_info(CL_PROGRAM_BINARY_SIZES), MemoryLayout<Int>.size, &size, nil)
    guard known == CL_SUCCESS, size > 0 else { return [] }
    var bytes = [UInt8](repeating: 0, count: size)
    let code = bytes.withUnsafeMutableBufferPointer { buffer in
      var start = buffer.baseAddress
      let size = MemoryLayout.size(ofValue: start)
      return cl.clGetProgramInfo(raw, cl_program_info(CL_PROGRAM_BINARIES), size, &start, nil)
    }
    return code == CL_SUCCESS ? bytes : []
  }

  private func build(_ options: String, on device: Device) -> cl_int {
    var id: cl_device_id? = device.id
    return cl.clBuildProgram(raw, 1, &id, options, nil, nil)
  }

  /// The first three lines of a compiler's log that speak of an error, else its first three lines.
  static func firstErrors(in log: String) -> [String] {
    let lines = log.unicodeScalars.split(whereSeparator: { $0 == "\n" || $0 == "\r" })
      .map { String(String($0).drop { $0 == " " || $0 == "\t" }) }.filter { !$0.isEmpty }
    let errors = lines.filter { $0.lowercased().contains("error") }
    return Array((errors.isEmpty ? lines : errors).prefix(3))
  }
}
