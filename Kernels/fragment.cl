// Matrix units: C += A · B by a warp of LANES items side by side, with A [16 × 16] and B [16 × 16] in f16 or bf16 and C [16 × 16] in
// f32; prepended to the programs that use it.
//
// Each item, a lane of its warp, holds a piece of the three. Which, is the layout of a maker's units: the file that stands before
// this one, fragment_mma.cl, fragment_dpas.cl, fragment_wmma.cl or fragment_mfma.cl. It says
//   WORDS                   of A, and of B, two neighbours to a word, the first in its low half; ELEMENTS = 256 / LANES of C
//   COPIES                  how many lanes hold the same piece of A and B: equal parts of the warp hold all of them
//   A_K(lane, w)            word w of A: k and k + 1 of row FRAGMENT_ROW(lane, 2w)
//   B_K, B_COLUMN(lane, w)  word w of B: k and k + 1 of that column, or, where B_ACROSS, that column and the next of k
//   A_LANE, A_WORD(row, k), B_LANE, B_WORD(k, column)  the other way round: where the unit looks for an element, in the first copy.
//                           The emulation reads by these what fragments wrote by those, so that both have to be right
//   LANE_ROWS               of how many rows of C a lane holds elements
//   SHARERS, SHARER_STEP    how many lanes share a row, a power of two, and by what their numbers differ
//   ROW_OF(lane, r)         row r of a lane's, and LANE_ROW(e) which of them element e of C belongs to
//   FRAGMENT_COLUMN(lane, e)  its column
// With one copy, C is laid out as A is: its elements 2w and 2w + 1 stand where word w of A does. Where a product is better made
// as Cᵀ = Bᵀ · Aᵀ for that, the layout is told in the names of here: its rows are the unit's columns.
//
// The file defines, too, what the device has an instruction for (probes say so), and everything else is plain OpenCL C here:
//   MATRIX_UNIT     UNIT_MULTIPLY(c, a, b); UNIT_KERNEL, an attribute of kernels; UNIT_EXP2
//   UNIT_OTHER(word, distance)   the word of lane ^ distance
//   UNIT_WORD(low, high)         two numbers rounded
//   UNIT_A, UNIT_B, UNIT_B_TURNED   fragments from local memory
//   UNIT_COPY(to, from)          16 bytes from global to local memory, later; with copies_commit and copies_arrived
// Without these, what lanes tell each other goes through `exchange`, with barriers, so every item of the group must come along:
// the emulation, which is slow, and proves all indices of all layouts on any device.
//
// Tiles in local memory are words of two elements, rows a STRIDE of words apart: four words more than a row, so that eight rows
// lie in different banks, and every row begins at 16 bytes.
// Defines: LANES; IS_F16 0|1, else bf16.

#define ELEMENTS (256 / LANES)
#define WORDS (128 / LANES * COPIES)
#define FRAGMENT_ROW(lane, e) ROW_OF(lane, LANE_ROW(e))

// Fragments stay in registers where loops over them are unrolled; with barriers inside that only makes code. In the emulation a
// warp exchanges all of A and B, by a unit a number for each of a lane's rows at most.
#ifdef MATRIX_UNIT
#define EXCHANGE_WORDS (2 * LANES)
#define UNROLLED _Pragma("unroll")
#else
#define EXCHANGE_WORDS (256 * COPIES)
#define UNROLLED
#endif
#ifndef UNIT_KERNEL
#define UNIT_KERNEL
#endif
#define STRIDE(size) ((size) / 2 + 4)
#define TILE_MEMORY(name, rows, size) __local uint name[(rows)*STRIDE(size)] __attribute__((aligned(16)))
#define EXCHANGE_MEMORY(name, warps) __local uint name[(warps)*EXCHANGE_WORDS]

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
#if defined(UNIT_WORD)
  return UNIT_WORD(low, high);
#elif IS_F16
  uint word;
  vstore_half2_rte((float2)(low, high), 0, (half *)&word);
  return word;
#else
  return bf16_bits(low) | (uint)bf16_bits(high) << 16;
#endif
}

// Elements (row, column) of a tile, and beside it or below it the next, as a word.
#define TILE_BESIDE(tile, stride, row, column) ((tile)[(row) * (stride) + (column) / 2])
#define TILE_ELEMENT(tile, stride, row, column) (TILE_BESIDE(tile, stride, row, column) >> (column) % 2 * 16 & 0xffff)
#define TILE_BELOW(tile, stride, row, column) \
  (TILE_ELEMENT(tile, stride, row, column) | TILE_ELEMENT(tile, stride, (row) + 1, column) << 16)

// An A from a tile [row][k].
INLINE void fragment_a(uint *a, __local const uint *tile, uint stride, uint lane) {
#ifdef UNIT_A
  UNIT_A(a, tile, stride, lane);
#else
  UNROLLED for (uint w = 0; w < WORDS; ++w) a[w] = TILE_BESIDE(tile, stride, FRAGMENT_ROW(lane, 2 * w), A_K(lane, w));
#endif
}

// A B from a tile [column][k].
INLINE void fragment_b(uint *b, __local const uint *tile, uint stride, uint lane) {
#ifdef UNIT_B
  UNIT_B(b, tile, stride, lane);
#else
  UNROLLED for (uint w = 0; w < WORDS; ++w)
    b[w] = B_ACROSS ? TILE_BELOW(tile, stride, B_COLUMN(lane, w), B_K(lane, w))
                    : TILE_BESIDE(tile, stride, B_COLUMN(lane, w), B_K(lane, w));
#endif
}

// The same from a tile [k][column].
INLINE void fragment_b_turned(uint *b, __local const uint *tile, uint stride, uint lane) {
#ifdef UNIT_B_TURNED
  UNIT_B_TURNED(b, tile, stride, lane);
#else
  UNROLLED for (uint w = 0; w < WORDS; ++w)
    b[w] = B_ACROSS ? TILE_BESIDE(tile, stride, B_K(lane, w), B_COLUMN(lane, w))
                    : TILE_BELOW(tile, stride, B_K(lane, w), B_COLUMN(lane, w));
#endif
}

// c += a · b
INLINE void fragment_multiply(float *c, const uint *a, const uint *b, __local uint *exchange, uint item) {
#ifdef MATRIX_UNIT
  UNIT_MULTIPLY(c, a, b);
#else
  uint lane = item % LANES;
  __local uint *left = exchange + item / LANES * EXCHANGE_WORDS;  // [word][lane], and the same of B
  __local uint *right = left + LANES * WORDS;
  for (uint w = 0; w < WORDS; ++w) {
    left[w * LANES + lane] = a[w];
    right[w * LANES + lane] = b[w];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  // A lane's part of the warp has a copy of its own.
  left += lane / (LANES / COPIES) * (LANES / COPIES);
  right += lane / (LANES / COPIES) * (LANES / COPIES);
  for (uint e = 0; e < ELEMENTS; ++e) {
    uint row = FRAGMENT_ROW(lane, e), column = FRAGMENT_COLUMN(lane, e);
    float sum = c[e];
    for (uint k = 0; k < 16; k += 2) {
      float2 x = fragment_pair(left[A_WORD(row, k) * LANES + A_LANE(row, k)]);
      float2 y = fragment_pair(right[B_WORD(k, column) * LANES + B_LANE(k, column)]);
      if (B_ACROSS) {
        float2 next = fragment_pair(right[B_WORD(k + 1, column) * LANES + B_LANE(k + 1, column)]);
        y = column % 2 ? (float2)(y.y, next.y) : (float2)(y.x, next.x);
      }
      sum = fma(x.y, y.y, fma(x.x, y.x, sum));
    }
    c[e] = sum;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#endif
}

// What lane ^ distance has for `count` words, EXCHANGE_WORDS / LANES at most.
INLINE void lane_swap(uint *other, const uint *words, const uint count, const uint distance, __local uint *exchange,
                      uint item) {
#ifdef UNIT_OTHER
  UNROLLED for (uint n = 0; n < count; ++n) other[n] = UNIT_OTHER(words[n], distance);
#else
  for (uint n = 0; n < count; ++n) exchange[item * count + n] = words[n];
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint n = 0; n < count; ++n) other[n] = exchange[(item ^ distance) * count + n];
  barrier(CLK_LOCAL_MEM_FENCE);
#endif
}

// C, rounded, as the A of another product.
INLINE void fragment_a_of(uint *a, const float *c, __local uint *exchange, uint item) {
#if COPIES == 1
  UNROLLED for (uint w = 0; w < WORDS; ++w) a[w] = fragment_word(c[2 * w], c[2 * w + 1]);
#else
  // Of two copies the first has the even columns of C, the second the odd ones.
  uint own[ELEMENTS / 2], other[ELEMENTS / 2];
  UNROLLED for (uint w = 0; w < ELEMENTS / 2; ++w) own[w] = fragment_word(c[2 * w], c[2 * w + 1]);
  lane_swap(other, own, ELEMENTS / 2, LANES / 2, exchange, item);
  bool is_even = item % LANES < LANES / 2;
  UNROLLED for (uint w = 0; w < ELEMENTS / 2; ++w) {
    uint even = is_even ? own[w] : other[w], odd = is_even ? other[w] : own[w];
    a[2 * w] = (even & 0xffff) | odd << 16;
    a[2 * w + 1] = even >> 16 | (odd & 0xffff0000u);
  }
#endif
}

// The greatest, or the sum, of a number for each of a lane's rows over all lanes that share it, which all get the same bits.
INLINE void share_rows(float *x, const bool is_sum, __local uint *exchange, uint item) {
  UNROLLED for (uint distance = SHARER_STEP; distance < SHARERS * SHARER_STEP; distance *= 2) {
    uint own[LANE_ROWS], other[LANE_ROWS];
    UNROLLED for (uint r = 0; r < LANE_ROWS; ++r) own[r] = as_uint(x[r]);
    lane_swap(other, own, LANE_ROWS, distance, exchange, item);
    UNROLLED for (uint r = 0; r < LANE_ROWS; ++r)
      x[r] = is_sum ? x[r] + as_float(other[r]) : fmax(x[r], as_float(other[r]));
  }
}

// Eight elements, `step` apart, from global to local memory; `whole` where they lie side by side at 16 bytes. Copies of one
// commit are there for the item itself after copies_arrived with as many commits as came later, for others after a barrier.
INLINE void copy_eight(__local uint *to, __global const ushort *from, uint step, bool whole) {
  if (whole) {
#ifdef UNIT_COPY
    UNIT_COPY(to, from);
#else
    *(__local uint4 *)to = *(__global const uint4 *)from;
#endif
  } else {
    for (uint n = 0; n < 4; ++n) to[n] = from[2 * n * step] | (uint)from[(2 * n + 1) * step] << 16;
  }
}
#ifndef UNIT_COPY
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
