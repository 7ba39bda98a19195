#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The precision of a reference computation: `Double` gives the truth, `Float` what plain single precision
/// makes of it.
///
/// Operands are handed over as Double, which holds every stored value exactly; arithmetic and sums are of
/// this type.
public protocol ReferenceScalar: BinaryFloatingPoint {
  /// e^x
  static func exp(_ x: Self) -> Self
  /// ln x
  static func log(_ x: Self) -> Self
  static func tanh(_ x: Self) -> Self
  /// The complementary error function, 1 − erf(x).
  static func erfc(_ x: Self) -> Self
  /// Σ a[i] · b[i]
  static func dot(_ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ count: Int) -> Self
  /// y[i] += scale · x[i]
  static func add(_ scale: Self, _ x: UnsafePointer<Double>, to y: UnsafeMutablePointer<Self>, _ count: Int)
}

extension Double: ReferenceScalar {
  public static func exp(_ x: Double) -> Double {
    #if canImport(Glibc)
      Glibc.exp(x)
    #elseif canImport(Musl)
      Musl.exp(x)
    #else
      Darwin.exp(x)
    #endif
  }

  public static func tanh(_ x: Double) -> Double {
    #if canImport(Glibc)
      Glibc.tanh(x)
    #elseif canImport(Musl)
      Musl.tanh(x)
    #else
      Darwin.tanh(x)
    #endif
  }

  public static func log(_ x: Double) -> Double {
    #if canImport(Glibc)
      Glibc.log(x)
    #elseif canImport(Musl)
      Musl.log(x)
    #else
      Darwin.log(x)
    #endif
  }

  public static func erfc(_ x: Double) -> Double {
    #if canImport(Glibc)
      Glibc.erfc(x)
    #elseif canImport(Musl)
      Musl.erfc(x)
    #else
      Darwin.erfc(x)
    #endif
  }

  // Eight sums, because one would wait for itself: 8 GFLOP/s on one core, and 1.8 without optimisation.
  public static func dot(_ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ count: Int) -> Double {
    var (s0, s1, s2, s3, s4, s5, s6, s7) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    var i = 0
    while i &+ 8 <= count {
      s0 += a[i] * b[i]
      s1 += a[i &+ 1] * b[i &+ 1]
      s2 += a[i &+ 2] * b[i &+ 2]
      s3 += a[i &+ 3] * b[i &+ 3]
      s4 += a[i &+ 4] * b[i &+ 4]
      s5 += a[i &+ 5] * b[i &+ 5]
      s6 += a[i &+ 6] * b[i &+ 6]
      s7 += a[i &+ 7] * b[i &+ 7]
      i &+= 8
    }
    while i < count {
      s0 += a[i] * b[i]
      i &+= 1
    }
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
  }

  public static func add(
    _ scale: Double, _ x: UnsafePointer<Double>, to y: UnsafeMutablePointer<Double>, _ count: Int
  ) {
    var i = 0
    while i < count {
      y[i] += scale * x[i]
      i &+= 1
    }
  }
}

extension Float: ReferenceScalar {
  // Through Double: the function is then exact to half an ulp, and the naive error is that of the arithmetic
  // around it.
  public static func exp(_ x: Float) -> Float { Float(Double.exp(Double(x))) }
  public static func log(_ x: Float) -> Float { Float(Double.log(Double(x))) }
  public static func tanh(_ x: Float) -> Float { Float(Double.tanh(Double(x))) }
  public static func erfc(_ x: Float) -> Float { Float(Double.erfc(Double(x))) }

  public static func dot(_ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ count: Int) -> Float {
    var sum: Float = 0
    var i = 0
    while i < count {
      sum += Float(a[i]) * Float(b[i])
      i &+= 1
    }
    return sum
  }

  public static func add(
    _ scale: Float, _ x: UnsafePointer<Double>, to y: UnsafeMutablePointer<Float>, _ count: Int
  ) {
    var i = 0
    while i < count {
      y[i] += scale * Float(x[i])
      i &+= 1
    }
  }
}

extension Collection where Element: ReferenceScalar {
  /// The sum, in sixteen parts as kernels have it: one long chain in f32 loses small terms, always to the
  /// same side.
  func total() -> Element {
    var parts = [Element](repeating: 0, count: 16)
    var part = 0
    for value in self {
      parts[part] += value
      part = (part &+ 1) & 15
    }
    return parts.reduce(0, +)
  }

  /// The sum with what each of its roundings loses (Knuth's sum of two), for terms that may cancel.
  func exactTotal() -> Element {
    var (sum, lost) = (Element(0), Element(0))
    for value in self {
      let next = sum + value
      let part = next - sum
      lost += (sum - (next - part)) + (value - part)
      sum = next
    }
    return sum + lost
  }
}
