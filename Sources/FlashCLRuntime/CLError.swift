import COpenCL

/// What the device layer throws; `description` is one line that says what, where and what to do about it.
public enum CLError: Error, Equatable, Sendable, CustomStringConvertible {
  /// libOpenCL cannot be opened; the loader's reason.
  case noLibrary(String)
  /// No device matches the specification; what there is, and advice for GPUs that have no driver.
  case noDevice(String, available: [String], advice: [String])
  /// An OpenCL call failed with a code; `context` names the kernel, the sizes or the last launches.
  case call(String, code: Int32, context: String)
  /// A program does not build: the first errors with file and line, and the compiler's whole log.
  case build(program: String, errors: [String], log: String)
  /// A request that is refused before OpenCL sees it.
  case refused(String)

  public var description: String {
    switch self {
    case .noLibrary(let reason):
      return
        "no OpenCL: \(reason). Install a loader and a device: apt install ocl-icd-libopencl1 pocl-opencl-icd"
    case .noDevice(let wanted, let available, let advice):
      let found =
        available.isEmpty
        ? "there is none; apt install pocl-opencl-icd brings one that runs on the processor"
        : "there is " + available.joined(separator: ", ")
      return (["no OpenCL device matches \"\(wanted)\": \(found)"] + advice).joined(separator: "; ")
    case .call(let call, let code, let context):
      let name = CLError.name(of: code)
      let advice = CLError.advice[code].map { ": \($0)" } ?? ""
      return "\(call) failed with \(name) (\(code))" + (context.isEmpty ? "" : " for \(context)") + advice
    case .build(let program, let errors, _):
      return "\(program) does not build: " + errors.joined(separator: "; ")
    case .refused(let reason):
      return reason
    }
  }

  /// True where the driver refuses a program itself, and would again; false where memory is full or the device lost.
  package var refusesProgram: Bool {
    switch self {
    case .build: true
    // Some drivers compile when the kernel is made or launched, and only then know how large a group its registers allow.
    case .call(_, let code, _):
      [
        CL_BUILD_PROGRAM_FAILURE, CL_INVALID_PROGRAM_EXECUTABLE, CL_INVALID_KERNEL_DEFINITION,
        CL_INVALID_WORK_GROUP_SIZE,
      ].contains(code)
    default: false
    }
  }

  /// The symbolic name of an OpenCL status code, as the specification spells it.
  public static func name(of code: Int32) -> String {
    if let name = extensionNames[code] { return name }
    let index = -Int(code)
    if index >= 0, index < coreNames.count { return coreNames[index] }
    if index >= 30, index - 30 < invalidNames.count { return "CL_" + invalidNames[index - 30] }
    return "an unknown code"
  }

  private static let coreNames = [
    "CL_SUCCESS", "CL_DEVICE_NOT_FOUND", "CL_DEVICE_NOT_AVAILABLE", "CL_COMPILER_NOT_AVAILABLE",
    "CL_MEM_OBJECT_ALLOCATION_FAILURE", "CL_OUT_OF_RESOURCES", "CL_OUT_OF_HOST_MEMORY",
    "CL_PROFILING_INFO_NOT_AVAILABLE", "CL_MEM_COPY_OVERLAP", "CL_IMAGE_FORMAT_MISMATCH",
    "CL_IMAGE_FORMAT_NOT_SUPPORTED", "CL_BUILD_PROGRAM_FAILURE", "CL_MAP_FAILURE",
    "CL_MISALIGNED_SUB_BUFFER_OFFSET", "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
    "CL_COMPILE_PROGRAM_FAILURE", "CL_LINKER_NOT_AVAILABLE", "CL_LINK_PROGRAM_FAILURE",
    "CL_DEVICE_PARTITION_FAILED", "CL_KERNEL_ARG_INFO_NOT_AVAILABLE",
  ]

  // From -30 downwards, without the prefix.
  private static let invalidNames = [
    "INVALID_VALUE", "INVALID_DEVICE_TYPE", "INVALID_PLATFORM", "INVALID_DEVICE", "INVALID_CONTEXT",
    "INVALID_QUEUE_PROPERTIES", "INVALID_COMMAND_QUEUE", "INVALID_HOST_PTR", "INVALID_MEM_OBJECT",
    "INVALID_IMAGE_FORMAT_DESCRIPTOR", "INVALID_IMAGE_SIZE", "INVALID_SAMPLER", "INVALID_BINARY",
    "INVALID_BUILD_OPTIONS", "INVALID_PROGRAM", "INVALID_PROGRAM_EXECUTABLE", "INVALID_KERNEL_NAME",
    "INVALID_KERNEL_DEFINITION", "INVALID_KERNEL", "INVALID_ARG_INDEX", "INVALID_ARG_VALUE",
    "INVALID_ARG_SIZE",
    "INVALID_KERNEL_ARGS", "INVALID_WORK_DIMENSION", "INVALID_WORK_GROUP_SIZE", "INVALID_WORK_ITEM_SIZE",
    "INVALID_GLOBAL_OFFSET", "INVALID_EVENT_WAIT_LIST", "INVALID_EVENT", "INVALID_OPERATION",
    "INVALID_GL_OBJECT",
    "INVALID_BUFFER_SIZE", "INVALID_MIP_LEVEL", "INVALID_GLOBAL_WORK_SIZE", "INVALID_PROPERTY",
    "INVALID_IMAGE_DESCRIPTOR", "INVALID_COMPILER_OPTIONS", "INVALID_LINKER_OPTIONS",
    "INVALID_DEVICE_PARTITION_COUNT", "INVALID_PIPE_SIZE", "INVALID_DEVICE_QUEUE", "INVALID_SPEC_ID",
    "MAX_SIZE_RESTRICTION_EXCEEDED",
  ]

  private static let extensionNames: [Int32: String] = [
    -1001: "CL_PLATFORM_NOT_FOUND_KHR", -1121: "CL_CONTEXT_TERMINATED_KHR",
    -9999: "NVIDIA's illegal memory access",
  ]

  private static let advice: [Int32: String] = [
    -1: "no device; apt install pocl-opencl-icd brings one that runs on the processor",
    -3: "the driver cannot compile; choose another device",
    -4: "the device's memory is full; use a smaller model, a shorter context or a smaller batch",
    -5: "the device gave up, most often by reading or writing outside a buffer, by too large a work-group "
      + "or because its memory is full",
    -6: "the host's memory is full",
    -14: "an earlier launch failed",
    -46: "no kernel of this name in the program",
    -52: "an argument of the kernel is missing",
    -54: "the local size must divide the global size and stay within the kernel's maximum",
    -55: "a side of the local size is larger than the device allows",
    -1001: "no OpenCL platform; apt install pocl-opencl-icd brings one that runs on the processor",
    -9999: "an earlier launch read or wrote outside a buffer",
  ]
}

/// Throws `CLError.call` unless `code` is CL_SUCCESS; the context is only built on failure.
@inline(__always)
func check(_ code: Int32, _ call: StaticString, _ context: @autoclosure () -> String = "") throws(CLError) {
  guard code != 0 else { return }
  throw CLError.call(String(describing: call), code: code, context: context())
}
