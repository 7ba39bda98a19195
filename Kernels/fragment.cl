// Matrix units: C += A · B by a warp, 32 items side by side, with A [16 × 16] and B [16 × 8] in FRAGMENT_TYPE and C [16 × 8] in
// f32; prepended to the programs that use it.
//
// Each item, a lane of its warp, holds a piece of the three as NVIDIA's mma.m16n8k16 lays them out. With g = lane / 4 and
// t = lane % 4, and two neighbours to a word, the first in its low half:
//   A   a[0] = A[g][2t, 2t + 1]    a[1] = A[g + 8][2t, 2t + 1]    a[2] = A[g][2t + 8, 2t + 9]    a[3] = A[g + 8][2t + 8, 2t + 9]
//   B   b[0] = B[2t, 2t + 1][g]    b[1] = B[2t + 8, 2t + 9][g]
//   C   c[0], c[1] = C[g][2t, 2t + 1]                             c[2], c[3] = C[g + 8][2t, 2t + 1]
// so that two C side by side, rounded and packed, are an A: c[0, 1] and c[2, 3] of the first, then of the second.
//
// Tiles in local memory are words of two elements, rows a STRIDE of words apart: four words more than a row, so that eight rows
// lie in different banks, and every row begins at 16 bytes.
//
// Each step is an instruction where the device has it (HAS_MMA_M16N8K16 for f16, …_BF16; HAS_LDMATRIX, HAS_CP_ASYNC,
// HAS_WARP_SHUFFLE), and plain OpenCL C everywhere else: what lanes tell each other then goes through `exchange`, with
// barriers, so every item of the group must come along. That is slow, and proves all indices on any device.
// Intel's and AMD's matrix units hold their fragments otherwise (a C of theirs is no A), so they do not go behind this.
//
// Defines: FRAGMENT_TYPE, f16 or bf16; default X_TYPE.

#ifndef FRAGMENT_TYPE
#define FRAGMENT_TYPE X_TYPE
#endif
#define IS_F16_f16 1
#define IS_F16_bf16 0
#define IS_F16_f32 0
#define IS_F16 JOIN(IS_F16_, FRAGMENT_TYPE)

#if IS_F16 && defined(HAS_MMA_M16N8K16)
#define MATRIX_UNIT "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
#define PACKING "cvt.rn.f16x2.f32"
#elif !IS_F16 && defined(HAS_MMA_M16N8K16_BF16)
#define MATRIX_UNIT "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
#define PACKING "cvt.rn.bf16x2.f32"
#endif

// Fragments stay in registers where loops over them are unrolled; with barriers inside that only makes code.
#ifdef MATRIX_UNIT
#define EXCHANGE_WORDS 2
#define UNROLLED _Pragma("unroll")
#else
#define EXCHANGE_WORDS 6
#define UNROLLED
#endif
#define STRIDE(size) ((size) / 2 + 4)
#define TILE_MEMORY(name, rows, size) __local uint name[(rows)*STRIDE(size)] __attribute__((aligned(16)))
#define EXCHANGE_MEMORY(name, items) __local uint name[(items)*EXCHANGE_WORDS]

// Row and column of element e of a C.
#define FRAGMENT_ROW(lane, e) ((lane) / 4 + (e) / 2 * 8)
#define FRAGMENT_COLUMN(lane, e) ((lane) % 4 * 2 + (e) % 2)

// A word's two elements.
INLINE float2 fragment_pair(uint word) {
#if IS_F16
  return vload_half2(0, (const half *)&word);
#else
  return (float2)(as_float(word << 16), as_float(word & 0xffff0000u));
#endif
}

// Two elements rounded to nearest even, as a word.
INLINE uint fragment_word(float low, float high) {
  uint word;
#ifdef MATRIX_UNIT
  asm(PACKING " %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#elif IS_F16
  vstore_half2_rte((float2)(low, high), 0, (half *)&word);
#else
  word = bf16_bits(low) | (uint)bf16_bits(high) << 16;
#endif
  return word;
}

// The address of shared memory as PTX wants it.
#define SHARED_ADDRESS(p) ((uint)(size_t)(p))
#define LDMATRIX(r, kind, p)                                                        \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4" kind ".shared.b16 {%0,%1,%2,%3}, [%4];" \
               : "=r"((r)[0]), "=r"((r)[1]), "=r"((r)[2]), "=r"((r)[3])             \
               : "r"(SHARED_ADDRESS(p))                                             \
               : "memory")

// An A from a tile [row][k].
INLINE void fragment_a(uint *a, __local const uint *tile, uint stride, uint lane) {
#ifdef HAS_LDMATRIX
  LDMATRIX(a, "", tile + lane % 16 * stride + lane / 16 * 4);
#else
  for (uint r = 0; r < 4; ++r) a[r] = tile[(lane / 4 + r % 2 * 8) * stride + lane % 4 + r / 2 * 4];
#endif
}

// Two B side by side, b[0, 1] and b[2, 3], from a tile [column][k].
INLINE void fragment_b(uint *b, __local const uint *tile, uint stride, uint lane) {
#ifdef HAS_LDMATRIX
  LDMATRIX(b, "", tile + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 4);
#else
  for (uint r = 0; r < 4; ++r) b[r] = tile[(lane / 4 + r / 2 * 8) * stride + lane % 4 + r % 2 * 4];
#endif
}

// The same from a tile [k][column].
INLINE void fragment_b_turned(uint *b, __local const uint *tile, uint stride, uint lane) {
#ifdef HAS_LDMATRIX
  LDMATRIX(b, ".trans", tile + lane % 16 * stride + lane / 16 * 4);
#else
  for (uint r = 0; r < 4; ++r) {
    uint k = lane % 4 * 2 + r % 2 * 8, column = lane / 4 + r / 2 * 8;
    uint low = tile[k * stride + column / 2] >> (column % 2 * 16);
    uint high = tile[(k + 1) * stride + column / 2] >> (column % 2 * 16);
    b[r] = (low & 0xffff) | high << 16;
  }
#endif
}

// c += a · b
INLINE void fragment_multiply(float *c, const uint *a, const uint *b, __local uint *exchange, uint item) {
#ifdef MATRIX_UNIT
  asm volatile(MATRIX_UNIT " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  uint lane = item % 32;
  __local uint *words = exchange + item / 32 * 32 * EXCHANGE_WORDS;
  for (uint r = 0; r < 4; ++r) words[32 * r + lane] = a[r];
  for (uint r = 0; r < 2; ++r) words[32 * (4 + r) + lane] = b[r];
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint e = 0; e < 4; ++e) {
    uint row = FRAGMENT_ROW(lane, e), column = FRAGMENT_COLUMN(lane, e);
    float sum = c[e];
    for (uint k = 0; k < 16; k += 2) {
      float2 left = fragment_pair(words[32 * (row / 8 + k / 8 * 2) + row % 8 * 4 + k % 8 / 2]);
      float2 right = fragment_pair(words[32 * (4 + k / 8) + column * 4 + k % 8 / 2]);
      sum = fma(left.y, right.y, fma(left.x, right.x, sum));
    }
    c[e] = sum;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#endif
}

// The greatest, or the sum, of two numbers over the four lanes that hold the same rows of a C; all four get the same bits.
#ifdef HAS_WARP_SHUFFLE
INLINE float2 warp_other(float2 x, const uint distance) {
  float2 y;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(y.x) : "f"(x.x), "r"(distance));
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(y.y) : "f"(x.y), "r"(distance));
  return y;
}
INLINE float2 quad_max(float2 x, __local uint *exchange, uint item) {
  x = fmax(x, warp_other(x, 1));
  return fmax(x, warp_other(x, 2));
}
INLINE float2 quad_sum(float2 x, __local uint *exchange, uint item) {
  x += warp_other(x, 1);
  return x + warp_other(x, 2);
}
#else
INLINE void quad_gather(float2 *all, float2 x, __local uint *exchange, uint item) {
  vstore2(as_uint2(x), item, exchange);
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint lane = 0; lane < 4; ++lane) all[lane] = as_float2(vload2(item / 4 * 4 + lane, exchange));
  barrier(CLK_LOCAL_MEM_FENCE);
}
INLINE float2 quad_max(float2 x, __local uint *exchange, uint item) {
  float2 all[4];
  quad_gather(all, x, exchange, item);
  return fmax(fmax(all[0], all[1]), fmax(all[2], all[3]));
}
INLINE float2 quad_sum(float2 x, __local uint *exchange, uint item) {
  float2 all[4];
  quad_gather(all, x, exchange, item);
  return (all[0] + all[1]) + (all[2] + all[3]);
}
#endif

// Eight elements, `step` apart, from global to local memory; `whole` where they lie side by side at 16 bytes. Copies of one
// commit are there for the item itself after copies_arrived with as many commits as came later, for others after a barrier.
INLINE void copy_eight(__local uint *to, __global const ushort *from, uint step, bool whole) {
  if (whole) {
#ifdef HAS_CP_ASYNC
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(SHARED_ADDRESS(to)), "l"(from) : "memory");
#else
    *(__local uint4 *)to = *(__global const uint4 *)from;
#endif
  } else {
    for (uint n = 0; n < 4; ++n) to[n] = from[2 * n * step] | (uint)from[(2 * n + 1) * step] << 16;
  }
}
#ifdef HAS_CP_ASYNC
#define copies_commit() asm volatile("cp.async.commit_group;" : : : "memory")
#define copies_arrived(later) asm volatile("cp.async.wait_group " #later ";" : : : "memory")
#else
#define copies_commit()
#define copies_arrived(later)
#endif

// Sets what is not finite of eight elements to 0; false where there was none.
INLINE bool clear_infinite(__local uint *words) {
  // An exponent of ones is carried into the sign by one more.
  const uint exponent = IS_F16 ? 0x7c007c00u : 0x7f807f80u, one = IS_F16 ? 0x04000400u : 0x00800080u;
  uint4 x = *(__local uint4 *)words;
  uint4 found = (((x & exponent) + one) & 0x80008000u) >> 15;
  if (!any(found != 0)) return false;
  *(__local uint4 *)words = x & ~(found * 0xffff);
  return true;
}
