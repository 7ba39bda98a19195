// How weights lie on a device, and how they are expanded; prepended to the programs of linear and embedding.
//
// A weight [outputs, inputs] is cut into tiles of 16 outputs, one lane each, so that a float16 (on a CPU device) or
// sixteen neighbouring items (on a GPU) read adjacent memory. A tile is a row of blocks along the inputs. A block of a
// plain type is one input; of a quantised type it is the file's block, taken apart into the f16 scales, which come first,
// and the rest as words of 32 bits in the file's order: scales × 16 lanes, then words × 16 lanes. Outputs past the end
// are zeros. weight_tile makes this layout from the file's; it has the same size.
//
// Every quantised type is input i = step · number + offset, with a step and an offset for each group of 16 or 32 inputs:
//   type     block scales   words                                             step          number          offset
//   q8_0     32    d        8: inputs as int8                                 d             int8            0
//   q4_0     32    d        4: nibbles, input i beside i + 16                 d             0 … 15          −8 · step
//   q4_1     32    d, m     4: as q4_0                                        d             0 … 15          m
//   q5_0     32    d        1: fifth bits, 4: nibbles as q4_0                 d             0 … 31          −16 · step
//   q5_1     32    d, m     5: as q5_0                                        d             0 … 31          m
//   iq4_nl   32    d        4: as q4_0                                        d             of 16 levels    0
//   q2_k     256   d, m     4: a 4-bit scale and minimum per 16, 16: pairs    d · scale     0 … 3           −m · minimum
//   q3_k     256   d        8: third bits, 16: pairs, 3: 6-bit scales         d·(scale−32)  0 … 7           −4 · step
//   q4_k     256   d, m     3: 6-bit scales and minima per 32, 32: nibbles    d · scale     0 … 15          −m · minimum
//   q5_k     256   d, m     3: as q4_k, 8: fifth bits, 32: nibbles            d · scale     0 … 31          −m · minimum
//   q6_k     256   d        32: nibbles, 16: pairs, 4: int8 scales per 16     d · scale     0 … 63          −32 · step
// Nibbles of the k types: 32 bytes hold 64 inputs, the low halves the first 32 (q6_k: 64 bytes hold 128). Pairs: 32 bytes
// hold 128 inputs, two bits of 32 after 32. Single bits of 32 bytes: bit s belongs to the inputs from 32s on.
//
// Defines: W_TYPE, the storage (f32, f16, bf16 or a type of the table); default f32.

#ifndef W_TYPE
#define W_TYPE f32
#endif

// Inputs of a block; 16-bit scales and words of one lane; whether the file has the scales last; inputs that share a step;
// whether there is an offset; how a quant's byte becomes a number. A plain type is one scale or one word.
#define FORM_f32(pick) pick(1, 0, 1, 0, 1, 0, BYTE)
#define FORM_f16(pick) pick(1, 1, 0, 0, 1, 0, BYTE)
#define FORM_bf16(pick) pick(1, 1, 0, 0, 1, 0, BYTE)
#define FORM_q8_0(pick) pick(32, 1, 8, 0, 32, 0, SIGNED)
#define FORM_q4_0(pick) pick(32, 1, 4, 0, 32, 1, NIBBLE)
#define FORM_q4_1(pick) pick(32, 2, 4, 0, 32, 1, NIBBLE)
#define FORM_q5_0(pick) pick(32, 1, 5, 0, 32, 1, BYTE)
#define FORM_q5_1(pick) pick(32, 2, 5, 0, 32, 1, BYTE)
#define FORM_iq4_nl(pick) pick(32, 1, 4, 0, 32, 0, LEVEL)
#define FORM_q2_k(pick) pick(256, 2, 20, 1, 16, 1, BYTE)
#define FORM_q3_k(pick) pick(256, 1, 27, 1, 16, 1, BYTE)
#define FORM_q4_k(pick) pick(256, 2, 35, 0, 32, 1, BYTE)
#define FORM_q5_k(pick) pick(256, 2, 43, 0, 32, 1, BYTE)
#define FORM_q6_k(pick) pick(256, 1, 52, 1, 16, 1, BYTE)
#define PICK_BLOCK(block, scales, words, last, group, offset, number) block
#define PICK_SCALES(block, scales, words, last, group, offset, number) scales
#define PICK_WORDS(block, scales, words, last, group, offset, number) words
#define PICK_LAST(block, scales, words, last, group, offset, number) last
#define PICK_GROUP(block, scales, words, last, group, offset, number) group
#define PICK_OFFSET(block, scales, words, last, group, offset, number) offset
#define PICK_NUMBER(block, scales, words, last, group, offset, number) number
#define W_FORM JOIN(FORM_, W_TYPE)
#define W_BLOCK W_FORM(PICK_BLOCK)
#define W_SCALES W_FORM(PICK_SCALES)
#define W_WORDS W_FORM(PICK_WORDS)
#define W_SCALES_LAST W_FORM(PICK_LAST)
#define W_GROUP W_FORM(PICK_GROUP)
#define W_OFFSET W_FORM(PICK_OFFSET)
#define W_QUANTISED (W_BLOCK > 1)
#define W_IS_FLOAT (W_SCALES == 0)
// Bytes of one block of a tile.
#define W_TILE_BYTES (32 * W_SCALES + 64 * W_WORDS)
// Inputs that are expanded at once.
#define W_STEP (W_QUANTISED ? 32 : 1)

typedef __global const uchar *weights_t;

// Block `block` of tile `tile`; 64-bit, because a table may pass 4 GiB.
inline weights_t weight_block(weights_t w, ulong tile, ulong blocks, ulong block) {
  return w + (tile * blocks + block) * W_TILE_BYTES;
}

// The types below are written once for both ways of reading a block `b`: V is LANE, one output (`lane`) in scalars, or
// TILE, all sixteen in vectors.
#define LANE_SCALE(n) vload_half(16 * (n) + lane, (__global const half *)b)
#define LANE_WORD(n) (((__global const uint *)(b + 32 * W_SCALES))[16 * (n) + lane])
#define LANE_FLOAT(x) ((float)(x))
#define LANE_SIGNED(x) LANE_FLOAT(as_int((x) << 24) >> 24)
#define LANE_LEVEL(x) ((float)levels_iq4_nl[(x) & 15])
#define TILE_SCALE(n) vload_half16((n), (__global const half *)b)
#define TILE_WORD(n) vload16((n), (__global const uint *)(b + 32 * W_SCALES))
#define TILE_FLOAT(x) convert_float16(as_int16(x))
#define TILE_SIGNED(x) convert_float16(as_int16((x) << 24) >> 24)
#define TILE_LEVEL(x) levels16_iq4_nl(TILE_FLOAT((x) & 15))
#define LANE_BYTE(x) LANE_FLOAT((x) & 255)
#define TILE_BYTE(x) TILE_FLOAT((x) & 255)
#define LANE_NIBBLE LANE_BYTE
#define TILE_NIBBLE TILE_BYTE

__constant char levels_iq4_nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// The same in sixteen lanes, where a table is a load per lane: this polynomial passes within 0.45 of each level, and adding
// 1.5 · 2^23 rounds it.
INLINE float16 levels16_iq4_nl(float16 n) {
  float16 p = fma(n, (float16)0.001586f, (float16)0.03109f);
  p = fma(p, n, (float16)-1.3719f);
  p = fma(p, n, (float16)24.174f);
  p = fma(p, n, (float16)-126.57f);
  return (p + ROUNDING) - ROUNDING;
}

// QUANTS_T(V, s, w): inputs 4w … 4w + 3 of the 32 from 32s on, a byte each.
#define NIBBLES(V, n, shift) ((V##_WORD(n) >> (shift)) & 0x0f0f0f0f)
#define PAIRS(V, n, shift) ((V##_WORD(n) >> (shift)) & 0x03030303)
#define BITS(V, n, shift) ((V##_WORD(n) >> (shift)) & 0x01010101)
// Four neighbouring bits of a word, a byte each: the product puts bit k at 7k + k.
#define SPREAD(V, n, shift) ((((V##_WORD(n) >> (shift)) & 15) * 0x00204081) & 0x01010101)
#define QUANTS_q8_0(V, s, w) V##_WORD(w)
#define QUANTS_q4_0(V, s, w) NIBBLES(V, (w) % 4, 4 * ((w) / 4))
#define QUANTS_q4_1 QUANTS_q4_0
#define QUANTS_iq4_nl QUANTS_q4_0
#define QUANTS_q5_0(V, s, w) (NIBBLES(V, 1 + (w) % 4, 4 * ((w) / 4)) | SPREAD(V, 0, 4 * (w)) << 4)
#define QUANTS_q5_1 QUANTS_q5_0
#define QUANTS_q2_k(V, s, w) PAIRS(V, 4 + 8 * ((s) / 4) + (w), 2 * ((s) % 4))
#define QUANTS_q3_k(V, s, w) (PAIRS(V, 8 + 8 * ((s) / 4) + (w), 2 * ((s) % 4)) | BITS(V, w, s) << 2)
#define QUANTS_q4_k(V, s, w) NIBBLES(V, 3 + 8 * ((s) / 2) + (w), 4 * ((s) % 2))
#define QUANTS_q5_k(V, s, w) (NIBBLES(V, 11 + 8 * ((s) / 2) + (w), 4 * ((s) % 2)) | BITS(V, 3 + (w), s) << 4)
#define QUANTS_q6_k(V, s, w) (NIBBLES(V, 16 * ((s) / 4) + 8 * ((s) % 2) + (w), 4 * ((s) % 4 / 2)) \
                              | PAIRS(V, 32 + 8 * ((s) / 4) + (w), 2 * ((s) % 4)) << 4)

// STEP_T(V, g) and OFFSET_T(V, g) of group g of the block.
#define BYTE_AT(V, n, i) (V##_WORD((n) + (i) / 4) >> (8 * ((i) % 4)))  // byte i from word n on, others above it
#define STEP_q8_0(V, g) V##_SCALE(0)
#define STEP_q4_0 STEP_q8_0
#define STEP_q4_1 STEP_q8_0
#define STEP_q5_0 STEP_q8_0
#define STEP_q5_1 STEP_q8_0
#define STEP_iq4_nl STEP_q8_0
#define OFFSET_q8_0(V, g) 0.0f
#define OFFSET_iq4_nl OFFSET_q8_0
#define OFFSET_q4_0(V, g) (-8.0f * V##_SCALE(0))
#define OFFSET_q5_0(V, g) (-16.0f * V##_SCALE(0))
#define OFFSET_q4_1(V, g) V##_SCALE(1)
#define OFFSET_q5_1 OFFSET_q4_1

#define STEP_q2_k(V, g) (V##_SCALE(0) * V##_FLOAT(BYTE_AT(V, 0, g) & 15))
#define OFFSET_q2_k(V, g) (-V##_SCALE(1) * V##_FLOAT(BYTE_AT(V, 0, g) >> 4 & 15))

// Scale g: the four low bits lie in nibble g / 8 of byte g % 8, the two high ones in pair g / 4 of byte 8 + g % 4.
#define SCALE_q3_k(V, g) ((BYTE_AT(V, 24, (g) % 8) >> (4 * ((g) / 8)) & 15) \
                          | (BYTE_AT(V, 26, (g) % 4) >> (2 * ((g) / 4)) & 3) << 4)
#define STEP_q3_k(V, g) (V##_SCALE(0) * (V##_FLOAT(SCALE_q3_k(V, g)) - 32.0f))
#define OFFSET_q3_k(V, g) (-4.0f * STEP_q3_k(V, g))

// Scale and minimum g: for g < 4 the six low bits of bytes g and g + 4; beyond, the four low bits are the halves of byte
// g + 4, the two high ones the highest of bytes g − 4 and g.
#define SCALE_q4_k(V, g) ((g) < 4 ? BYTE_AT(V, 0, (g) % 4) & 63 \
                                  : (BYTE_AT(V, 2, (g) % 4) & 15) | (BYTE_AT(V, 0, (g) % 4) >> 6 & 3) << 4)
#define MINIMUM_q4_k(V, g) ((g) < 4 ? BYTE_AT(V, 1, (g) % 4) & 63 \
                                    : (BYTE_AT(V, 2, (g) % 4) >> 4 & 15) | (BYTE_AT(V, 1, (g) % 4) >> 6 & 3) << 4)
#define STEP_q4_k(V, g) (V##_SCALE(0) * V##_FLOAT(SCALE_q4_k(V, g)))
#define OFFSET_q4_k(V, g) (-V##_SCALE(1) * V##_FLOAT(MINIMUM_q4_k(V, g)))
#define STEP_q5_k STEP_q4_k
#define OFFSET_q5_k OFFSET_q4_k

#define STEP_q6_k(V, g) (V##_SCALE(0) * V##_SIGNED(BYTE_AT(V, 48, g)))
#define OFFSET_q6_k(V, g) (-32.0f * STEP_q6_k(V, g))

#define QUANTS(V, s, w) JOIN(QUANTS_, W_TYPE)(V, s, w)
#define STEP(V, g) JOIN(STEP_, W_TYPE)(V, g)
#define OFFSET(V, g) JOIN(OFFSET_, W_TYPE)(V, g)
// The number of byte k of four quants.
#define NUMBER(V, quants, k) JOIN(V##_, W_FORM(PICK_NUMBER))((quants) >> (8 * (k)))

#define LANE_PLAIN_f32 (((__global const float *)b)[lane])
#define LANE_PLAIN_f16 LANE_SCALE(0)
#define LANE_PLAIN_bf16 load_bf16((__global const ushort *)b, lane)
#define TILE_PLAIN_f32 vload16(0, (__global const float *)b)
#define TILE_PLAIN_f16 TILE_SCALE(0)
#define TILE_PLAIN_bf16 load16_bf16((__global const ushort *)b, 0)

// One weight: lane `lane`, input `i` within the block. Exact but for the rounding of the offset's addition.
INLINE float weight(weights_t b, uint lane, uint i) {
#if W_QUANTISED
  uint quants = QUANTS(LANE, i / 32, i % 32 / 4);
  return fma(STEP(LANE, i / W_GROUP), NUMBER(LANE, quants, i % 4), OFFSET(LANE, i / W_GROUP));
#else
  return JOIN(LANE_PLAIN_, W_TYPE);
#endif
}

// W_STEP inputs from `first` on of all lanes, expanded into registers: w[i] holds input first + i of sixteen outputs.
INLINE void expand(weights_t b, uint first, float16 *w) {
#if W_QUANTISED
#pragma unroll
  for (uint i = 0; i < 32; i += W_GROUP) {
    float16 step = STEP(TILE, (first + i) / W_GROUP), offset = OFFSET(TILE, (first + i) / W_GROUP);
#pragma unroll
    for (uint word = i / 4; word < (i + W_GROUP) / 4; ++word) {
      uint16 quants = QUANTS(TILE, first / 32, word);
#pragma unroll
      for (uint k = 0; k < 4; ++k) w[4 * word + k] = fma(step, NUMBER(TILE, quants, k), offset);
    }
  }
#else
  w[0] = JOIN(TILE_PLAIN_, W_TYPE);
#endif
}

// Quants are numbers where they stand in their word, q · 2^s: masked and converted, not shifted. x is made ready for that once
// and serves many tiles: x[i] · 2^−s, which is exact but for numbers below 2^-102. PLACED(s, w, k) is the number k of word w,
// PLACES(half) the powers of sixteen inputs, of the first or second half of 32. A nibble in the highest bits would be a sign.
#define PLACED_SIGNED(s, w, k) NUMBER(TILE, QUANTS(TILE, s, w), k)
#define PLACED_LEVEL PLACED_SIGNED
#define PLACED_BYTE(s, w, k) TILE_FLOAT(QUANTS(TILE, s, w) & (255u << (8 * (k))))
#define PLACED_NIBBLE(s, w, k)                                                                          \
  TILE_FLOAT((w) >= 4 && (k) == 3 ? (TILE_WORD((w) - 4) >> 4) & (15u << 24)                              \
                                  : TILE_WORD((w) % 4) & (15u << (8 * (k) + 4 * ((w) / 4))))
#define PLACED(s, w, k) JOIN(PLACED_, W_FORM(PICK_NUMBER))(s, w, k)
#define FOUR_TIMES(a, b, c, d) (float16)(a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d)
#define PLACES_SIGNED(half) 1.0f
#define PLACES_LEVEL PLACES_SIGNED
#define PLACES_BYTE(half) FOUR_TIMES(1.0f, 0x1p-8f, 0x1p-16f, 0x1p-24f)
#define PLACES_NIBBLE(half) ((half) ? FOUR_TIMES(0x1p-4f, 0x1p-12f, 0x1p-20f, 0x1p-24f) : PLACES_BYTE(half))
#define PLACES(half) JOIN(PLACES_, W_FORM(PICK_NUMBER))(half)

// A block's share of the product with x[0 … W_BLOCK), made ready as above, added to `sum`: a step is applied once per group,
// not once per weight. Offsets meet `sums`, those of each group of x.
INLINE float16 product(weights_t b, __local const float *x, __local const float *sums, float16 sum) {
#if W_QUANTISED
  for (uint first = 0; first < W_BLOCK; first += 32) {
#pragma unroll
    for (uint i = 0; i < 32; i += W_GROUP) {
      float16 even = 0.0f, odd = 0.0f;  // two chains: an FMA's result is ready four cycles later
#pragma unroll
      for (uint n = 0; n < W_GROUP / 4; ++n) {
        const uint word = i / 4 + n;
        __local const float *xs = x + first + 4 * word;
        even = fma(PLACED(first / 32, word, 0), (float16)xs[0], even);
        odd = fma(PLACED(first / 32, word, 1), (float16)xs[1], odd);
        even = fma(PLACED(first / 32, word, 2), (float16)xs[2], even);
        odd = fma(PLACED(first / 32, word, 3), (float16)xs[3], odd);
      }
#if W_OFFSET
      sum = fma(OFFSET(TILE, (first + i) / W_GROUP), (float16)sums[(first + i) / W_GROUP], sum);
#endif
      sum = fma(STEP(TILE, (first + i) / W_GROUP), even + odd, sum);
    }
  }
  return sum;
#else
  return fma(JOIN(TILE_PLAIN_, W_TYPE), (float16)x[0], sum);
#endif
}
