import FlashCL
import FlashCLRuntime

/// How the lanes of a warp hold the pieces of a matrix product: that of a unit, whose instructions or whose emulation then
/// compute it.
struct FragmentLayout: Sendable, Equatable {
  let unit: MatrixUnit
  /// The device has the unit, for f16 and for bf16.
  var isPresent: Bool

  var lanes: Int { unit.lanes }

  /// The unit comes first. Not that of 8 lanes: what each of them holds of attention is more than its registers do, and Intel's
  /// compiler (22.43, Arc A, heads of 64) moves it to memory and back.
  var isPreferred: Bool { isPresent && unit != .dpas8 }

  init(unit: MatrixUnit, isPresent: Bool = false) { (self.unit, self.isPresent) = (unit, isPresent) }

  /// That of the device, else of the one that it pretends to be, else NVIDIA's.
  init(of queue: Queue) {
    let found = queue.capabilities.matrixUnit
    self.init(unit: found ?? queue.device.pretence?.matrixUnit ?? .mma, isPresent: found != nil)
  }

  /// A kernel file after those of `including`, once for each layout that it may be compiled for.
  static func files(_ name: String, including: [String] = []) -> [MatrixUnit: KernelFile] {
    Dictionary(
      uniqueKeysWithValues: MatrixUnit.allCases.map { unit in
        (unit, KernelFile(name, including: including + ["fragment_\(unit.kind)", "fragment"]))
      })
  }

  /// What the fragments of a type need to know.
  func defines(_ type: ElementType) -> Defines {
    ["LANES": "\(lanes)", "IS_F16": type == .f16 ? "1" : "0"]
  }

  /// Words that warps exchange in local memory: two a lane where lanes have to ask each other; in the emulation all of A and B, in as
  /// many copies as the unit wants. See EXCHANGE_WORDS in Kernels/fragment.cl.
  func exchangedWords(warps: Int) -> Int { warps * (isPresent ? 2 * lanes : 256 * unit.copies) }
}

extension MatrixUnit {
  /// The end of the name of its kernel file.
  fileprivate var kind: String {
    switch self {
    case .dpas8, .dpas16: "dpas"
    default: rawValue
    }
  }

  /// How many lanes hold the same piece of a factor.
  fileprivate var copies: Int { self == .wmma ? 2 : 1 }
}
