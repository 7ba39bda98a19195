// Common ground of all kernels; prepended to every program.
//
// Storage and arithmetic are separate: elements are stored as f32, f16, bf16 or in quantised blocks, arithmetic is f32. A
// kernel names its storage by a define (-DX_TYPE=f16) and reads through X_LOAD and X_STORE, which these macros make:
//   load_T(p, i)      element i of p as float            store_T(p, i, x)     x rounded to nearest even
//   load16_T(p, i)    elements i … i + 15 as float16     store16_T(p, i, x)
// No extension is needed: half is read and written by vload_half and vstore_half, bf16 by its bits.

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

// For functions of many or wide arguments, whose call costs more than their work.
#define INLINE inline __attribute__((always_inline))

typedef float f32_t;
typedef half f16_t;
typedef ushort bf16_t;
typedef char q8_0_t;  // elements of a cache, whose scales lie beside them

inline ushort bf16_bits(float x) {
  uint bits = as_uint(x);
  // A NaN must not round to infinity; others round to nearest, ties to even.
  return isnan(x) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline ushort16 bf16_bits16(float16 x) {
  uint16 bits = as_uint16(x);
  uint16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return convert_ushort16(select(rounded, (bits >> 16) | 0x40, isnan(x)));
}

#define load_f32(p, i) ((p)[i])
#define load_f16(p, i) vload_half((i), (p))
#define load_bf16(p, i) as_float((uint)(p)[i] << 16)
#define load16_f32(p, i) vload16(0, (p) + (i))
#define load16_f16(p, i) vload_half16(0, (p) + (i))
#define load16_bf16(p, i) as_float16(convert_uint16(vload16(0, (p) + (i))) << 16)

// Sixteen numbers at any address, as one store: PoCL makes four of a vstore16, which are as many more for the processor to retire.
typedef struct __attribute__((packed)) {
  float16 lanes;
} Unaligned16;

#define store_f32(p, i, x) ((p)[i] = (x))
#define store_f16(p, i, x) vstore_half_rte((x), (i), (p))
#define store_bf16(p, i, x) ((p)[i] = bf16_bits(x))
#define store16_f32(p, i, x) (((__global Unaligned16 *)((p) + (i)))->lanes = (x))
#define store16_f16(p, i, x) vstore_half16_rte((x), 0, (p) + (i))
#define store16_bf16(p, i, x) vstore16(bf16_bits16(x), 0, (p) + (i))

// Between groups of one launch: what an item wrote before is there for whoever sees what it writes after (an atomic counter).
// OpenCL C 1.2 promises that within a group alone; drivers keep it beyond, or have a stronger fence.
#if defined(HAS_MEMBAR)
#define DEVICE_FENCE() asm volatile("membar.gl;" : : : "memory")
#elif defined(HAS_AGENT_FENCE)
#define DEVICE_FENCE() __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent")
#else
#define DEVICE_FENCE() mem_fence(CLK_GLOBAL_MEM_FENCE)
#endif

// The storage of activations: f32, f16 or bf16.
#ifndef X_TYPE
#define X_TYPE f32
#endif
#define X_T JOIN(X_TYPE, _t)
#define X_LOAD(p, i) JOIN(load_, X_TYPE)(p, i)
#define X_LOAD16(p, i) JOIN(load16_, X_TYPE)(p, i)
#define X_STORE(p, i, x) JOIN(store_, X_TYPE)(p, i, x)
#define X_STORE16(p, i, x) JOIN(store16_, X_TYPE)(p, i, x)

// Asks for the cache line at p; a no-op where the compiler has no such call.
#ifdef HAS_PREFETCH
#define PREFETCH(p) __builtin_prefetch((const void *)(ulong)(p))
#else
#define PREFETCH(p)
#endif

inline float sum16(float16 v) {
  float8 a = v.lo + v.hi;
  float4 b = a.lo + a.hi;
  float2 c = b.lo + b.hi;
  return c.x + c.y;
}

inline float max16(float16 v) {
  float8 a = fmax(v.lo, v.hi);
  float4 b = fmax(a.lo, a.hi);
  float2 c = fmax(b.lo, b.hi);
  return fmax(c.x, c.y);
}

// A sum in one long chain that keeps what each rounding loses: sum.x is the sum, sum.y what it has too much (Kahan 1965).
inline float2 add_kept(float2 sum, float x) {
  float y = x - sum.y;
  float t = sum.x + y;
  return (float2)(t, isfinite(t) ? (t - sum.x) - y : 0.0f);
}

// e^x in sixteen lanes by e^x = 2^n · e^r, r = x − n·ln 2 in [−½ln 2, ½ln 2], for devices whose exp is a call per lane.
// Adding 1.5 · 2^23 rounds to a whole number and leaves n in the low bits, so that no rounding function is called; these
// bits are added to the exponent of e^r. ln 2 is split in two so that n·LN2_HIGH is exact. The polynomial is that of degree 6
// with the least relative error, 3.1e-9, of those that begin with 1 + r; in f32 e^r is within 7.6e-8 (1.3 · 2^-24). Below −87.3
// the result is 0 instead of a subnormal, above 88.7 infinity; NaN stays NaN.
#define ROUNDING 12582912.0f
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)
// exp16 where x is at most 88.7 and no NaN.
inline float16 exp16_bounded(float16 x) {
  float16 k = fma(x, (float16)1.44269504f, (float16)ROUNDING);
  float16 n = k - ROUNDING;
  float16 r = fma(n, (float16)-LN2_LOW, fma(n, (float16)-LN2_HIGH, x));
  float16 e = fma(r, (float16)1.38145371e-3f, (float16)8.36874638e-3f);
  e = fma(e, r, (float16)4.16683927e-2f);
  e = fma(e, r, (float16)0.166665211f);
  e = fma(e, r, (float16)0.49999994f);
  e = fma(e, r, (float16)1.0f);
  e = fma(e, r, (float16)1.0f);
  e = as_float16(as_int16(e) + (as_int16(k) << 23));
  return select(e, (float16)0.0f, x < -87.3f);
}

inline float16 exp16(float16 x) {
  float16 e = select(exp16_bounded(x), (float16)INFINITY, x > 88.7f);
  return select(e, x, isnan(x));
}

// tanh in sixteen lanes: with y = −2|x| and e^y = 2^n · e^r as in exp16, e^y − 1 = 2^n·(e^r − 1) + (2^n − 1) loses nothing
// near 0, and tanh|x| = −(e^y − 1) / (e^y + 1).
inline float16 tanh16(float16 x) {
  float16 y = fmax(-2.0f * fabs(x), (float16)-40.0f);
  float16 k = fma(y, (float16)1.44269504f, (float16)ROUNDING);
  float16 n = k - ROUNDING;
  float16 r = fma(n, (float16)-LN2_LOW, fma(n, (float16)-LN2_HIGH, y));
  float16 e = fma(r, (float16)(1.0f / 5040), (float16)(1.0f / 720));
  e = fma(e, r, (float16)(1.0f / 120));
  e = fma(e, r, (float16)(1.0f / 24));
  e = fma(e, r, (float16)(1.0f / 6));
  e = fma(e, r, (float16)0.5f);
  e = fma(e, r, (float16)1.0f) * r;
  float16 power = as_float16((as_int16(k) + 127) << 23);
  float16 m = fma(power, e, power - 1.0f);
  return select(copysign(-m / (m + 2.0f), x), x, isnan(x));
}

// Rotary positions, for rope and caches. Pair `pair` is elements (pair, pair + pairs), or (2·pair, 2·pair + 1).
inline uint2 rope_pair(uint pair, uint pairs, int adjacent) {
  return adjacent ? (uint2)(2 * pair, 2 * pair + 1) : (uint2)(pair, pair + pairs);
}

// (a, b) turned by the pair's angle at a position; NaN where the tables [length, pairs] have no such position.
inline float2 rope_turn(float a, float b, __global const float *cosines, __global const float *sines, int position,
                        uint length, uint pairs, uint pair) {
  if ((uint)position >= length) return (float2)(NAN);
  float c = cosines[(ulong)position * pairs + pair];
  float s = sines[(ulong)position * pairs + pair];
  return (float2)(a * c - b * s, a * s + b * c);
}

// The functions after a linear layer, in the order of `Activation`. GELU by tanh is x·sigmoid(2u): no cancellation.
#define ACTIVATION_NONE 0
#define ACTIVATION_RELU 1
#define ACTIVATION_GELU 2
#define ACTIVATION_GELU_TANH 3
#define ACTIVATION_SILU 4
#define ACTIVATION_TANH 5

inline float gelu_exact(float x) { return 0.5f * x * erfc(-0.70710678f * x); }

// −2u = −2·√(2/π)·(x + 0.044715·x³)
inline float gelu_tanh(float x) { return x / (1.0f + exp(-1.59576912f * fma(0.044715f * x * x, x, x))); }

inline float silu(float x) { return x / (1.0f + exp(-x)); }

inline float activate(float x, int activation) {
  switch (activation) {
    case ACTIVATION_RELU: return x < 0.0f ? 0.0f : x;
    case ACTIVATION_GELU: return gelu_exact(x);
    case ACTIVATION_GELU_TANH: return gelu_tanh(x);
    case ACTIVATION_SILU: return silu(x);
    case ACTIVATION_TANH: return tanh(x);
    default: return x;
  }
}

inline float16 gelu_tanh16(float16 x) {
  return x / (1.0f + exp16(-1.59576912f * fma(0.044715f * x * x, x, x)));
}

inline float16 silu16(float16 x) { return x / (1.0f + exp16(-x)); }

// x·Φ(x) in sixteen lanes: Φ(−z) = t·P(t)·e^(−z²/2) with t = 1 / (1 + 0.45·z) for z = |x|, and x·Φ(x) = max(x, 0) − z·Φ(−z). P is
// the polynomial of degree 6 whose error is the smallest share (0.7 %) of what GELUCases allows, fitted by linear programming;
// in f32 the whole is within a fifth of it. max(x, 0) as ½x + ½|x| keeps NaN; past 14, e^(−98) is 0.
inline float16 gelu_exact16(float16 x) {
  float16 z = fmin(fabs(x), (float16)14.0f);
  float16 t = 1.0f / fma(z, (float16)0.45f, (float16)1.0f);
  float16 p = fma(t, (float16)-0.0374622159f, (float16)0.215794653f);
  p = fma(p, t, (float16)-0.471194655f);
  p = fma(p, t, (float16)0.39108187f);
  p = fma(p, t, (float16)0.0193960909f);
  p = fma(p, t, (float16)0.205079734f);
  p = fma(p, t, (float16)0.177304536f);
  float16 tail = t * p * exp16_bounded(-0.5f * z * z);
  return fma(-z, tail, fma(fabs(x), (float16)0.5f, 0.5f * x));
}

inline float16 activate16(float16 x, int activation) {
  switch (activation) {
    case ACTIVATION_RELU: return select(x, (float16)0.0f, x < 0.0f);
    case ACTIVATION_GELU: return gelu_exact16(x);
    case ACTIVATION_GELU_TANH: return gelu_tanh16(x);
    case ACTIVATION_SILU: return silu16(x);
    case ACTIVATION_TANH: return tanh16(x);
    default: return x;
  }
}
