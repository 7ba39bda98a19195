// How weights lie on a device; prepended to the programs of linear and embedding.
//
// A weight [outputs, inputs] is cut into tiles of 16 outputs, one lane each, so that a float16 (on a CPU device) or
// sixteen neighbouring items (on a GPU) read adjacent memory. A tile is a row of blocks along the inputs:
//   type        block           contents of one block
//   f32         1 input         16 × f32
//   f16, bf16   1 input         16 × 16 bits
//   q8_0        32 inputs       16 × f16 d,                8 words × 16 lanes: word w holds inputs 4w … 4w + 3 as int8
//   q4_0        32 inputs       16 × f16 d,                4 words × 16 lanes: word w holds bytes 4w … 4w + 3 of the lane's
//   q4_1        32 inputs       16 × f16 d, 16 × f16 m,    16 nibble bytes (low half: input i, high half: input i + 16)
// Outputs past the end are zeros. weight_tile (below) makes this layout from the file's.
//
// Defines: W_TYPE, the storage (f32, f16, bf16, q8_0, q4_0, q4_1); default f32.

#ifndef W_TYPE
#define W_TYPE f32
#endif

#define BLOCK_f32 1
#define BLOCK_f16 1
#define BLOCK_bf16 1
#define BLOCK_q8_0 32
#define BLOCK_q4_0 32
#define BLOCK_q4_1 32
// Bytes of one block of a tile.
#define TILE_BYTES_f32 64
#define TILE_BYTES_f16 32
#define TILE_BYTES_bf16 32
#define TILE_BYTES_q8_0 (32 + 512)
#define TILE_BYTES_q4_0 (32 + 256)
#define TILE_BYTES_q4_1 (64 + 256)

// 16-bit scales of one lane of a block.
#define SCALES_f32 0
#define SCALES_f16 0
#define SCALES_bf16 0
#define SCALES_q8_0 1
#define SCALES_q4_0 1
#define SCALES_q4_1 2

#define W_SCALES JOIN(SCALES_, W_TYPE)
#define W_BLOCK JOIN(BLOCK_, W_TYPE)
#define W_TILE_BYTES JOIN(TILE_BYTES_, W_TYPE)
#define W_QUANTISED (W_BLOCK > 1)

typedef __global const uchar *weights_t;

// Block `block` of tile `tile`; 64-bit, because a table may pass 4 GiB.
inline weights_t weight_block(weights_t w, ulong tile, ulong blocks, ulong block) {
  return w + (tile * blocks + block) * W_TILE_BYTES;
}

#define half_lane(p, lane) vload_half((lane), (__global const half *)(p))
#define word_lane(p, word, lane) (((__global const uint *)(p))[(word) * 16 + (lane)])

// One weight: lane `lane`, input `i` within the block.
inline float weight_f32(weights_t b, uint lane, uint i) { return ((__global const float *)b)[lane]; }
inline float weight_f16(weights_t b, uint lane, uint i) { return half_lane(b, lane); }
inline float weight_bf16(weights_t b, uint lane, uint i) {
  return load_bf16((__global const ushort *)b, lane);
}
inline float weight_q8_0(weights_t b, uint lane, uint i) {
  return half_lane(b, lane) * (float)as_char4(word_lane(b + 32, i / 4, lane))[i % 4];
}
inline uint nibble_of(uint word, uint i) { return (word >> (8 * (i % 4) + (i & 16) / 4)) & 15; }
inline float weight_q4_0(weights_t b, uint lane, uint i) {
  return half_lane(b, lane) * ((float)nibble_of(word_lane(b + 32, (i & 15) / 4, lane), i) - 8.0f);
}
inline float weight_q4_1(weights_t b, uint lane, uint i) {
  return fma(half_lane(b, lane), (float)nibble_of(word_lane(b + 64, (i & 15) / 4, lane), i),
             half_lane(b + 32, lane));
}
#define WEIGHT(b, lane, i) JOIN(weight_, W_TYPE)(b, lane, i)

// All lanes of a block, expanded into registers: w[i] holds input i for sixteen outputs.
#define half16_at(p) vload_half16(0, (__global const half *)(p))
#define words16_at(p, word) vload16((word), (__global const uint *)(p))

inline void expand_f32(weights_t b, float16 *w) { w[0] = vload16(0, (__global const float *)b); }
inline void expand_f16(weights_t b, float16 *w) { w[0] = half16_at(b); }
inline void expand_bf16(weights_t b, float16 *w) { w[0] = load16_bf16((__global const ushort *)b, 0); }
inline void expand_q8_0(weights_t b, float16 *w) {
  float16 d = half16_at(b);
  for (uint word = 0; word < 8; ++word) {
    int16 bits = as_int16(words16_at(b + 32, word));
    w[4 * word + 0] = d * convert_float16((bits << 24) >> 24);
    w[4 * word + 1] = d * convert_float16((bits << 16) >> 24);
    w[4 * word + 2] = d * convert_float16((bits << 8) >> 24);
    w[4 * word + 3] = d * convert_float16(bits >> 24);
  }
}
inline void expand_nibbles(weights_t words, float16 d, float16 m, float16 *w) {
  for (uint word = 0; word < 4; ++word) {
    uint16 bits = words16_at(words, word);
    for (uint byte = 0; byte < 4; ++byte) {
      w[4 * word + byte] = fma(d, convert_float16((bits >> (8 * byte)) & 15), m);
      w[4 * word + byte + 16] = fma(d, convert_float16((bits >> (8 * byte + 4)) & 15), m);
    }
  }
}
inline void expand_q4_0(weights_t b, float16 *w) {
  float16 d = half16_at(b);
  expand_nibbles(b + 32, d, -8.0f * d, w);  // exact: d has 11 bits
}
inline void expand_q4_1(weights_t b, float16 *w) { expand_nibbles(b + 64, half16_at(b), half16_at(b + 32), w); }
#define EXPAND(b, w) JOIN(expand_, W_TYPE)(b, w)

// A block's share of the product with x[0 … W_BLOCK): scales are applied once per block, not once per weight.
inline float16 product_f32(weights_t b, __global const float *x, float16 sum) {
  return fma(vload16(0, (__global const float *)b), (float16)x[0], sum);
}
inline float16 product_f16(weights_t b, __global const float *x, float16 sum) {
  return fma(half16_at(b), (float16)x[0], sum);
}
inline float16 product_bf16(weights_t b, __global const float *x, float16 sum) {
  return fma(load16_bf16((__global const ushort *)b, 0), (float16)x[0], sum);
}
inline float16 product_q8_0(weights_t b, __global const float *x, float16 sum) {
  float16 even = 0.0f, odd = 0.0f;  // two chains: an FMA's result is ready four cycles later
  for (uint word = 0; word < 8; ++word) {
    int16 bits = as_int16(words16_at(b + 32, word));
    even = fma(convert_float16((bits << 24) >> 24), (float16)x[4 * word + 0], even);
    odd = fma(convert_float16((bits << 16) >> 24), (float16)x[4 * word + 1], odd);
    even = fma(convert_float16((bits << 8) >> 24), (float16)x[4 * word + 2], even);
    odd = fma(convert_float16(bits >> 24), (float16)x[4 * word + 3], odd);
  }
  return fma(half16_at(b), even + odd, sum);
}
inline float16 product_nibbles(weights_t words, __global const float *x) {
  float16 low = 0.0f, high = 0.0f;
  for (uint word = 0; word < 4; ++word) {
    uint16 bits = words16_at(words, word);
    for (uint byte = 0; byte < 4; ++byte) {
      low = fma(convert_float16((bits >> (8 * byte)) & 15), (float16)x[4 * word + byte], low);
      high = fma(convert_float16((bits >> (8 * byte + 4)) & 15), (float16)x[4 * word + byte + 16], high);
    }
  }
  return low + high;
}
inline float16 product_q4_0(weights_t b, __global const float *x, float16 sum) {
  float total = sum16(vload16(0, x) + vload16(1, x));
  return fma(half16_at(b), product_nibbles(b + 32, x) - 8.0f * total, sum);
}
inline float16 product_q4_1(weights_t b, __global const float *x, float16 sum) {
  float total = sum16(vload16(0, x) + vload16(1, x));
  sum = fma(half16_at(b + 32), (float16)total, sum);
  return fma(half16_at(b), product_nibbles(b + 64, x), sum);
}
#define PRODUCT(b, x, sum) JOIN(product_, W_TYPE)(b, x, sum)
