// linear_blocks: one item makes TILES tiles for up to ROWS rows; weights are expanded once, then each number of x, broadcast, meets
// them in sums that are registers; prefill on CPU devices. See linear.cl.
// Defines: TILES, 1 or 3 (default 3); ROWS, a multiple of 24 (default 120).

#ifndef TILES
#define TILES 3
#endif
#ifndef ROWS
#define ROWS 120
#endif

// The registers' share of a product: TILES tiles × ABREAST rows, beside them TILES vectors of weights and one of x. Of AVX-512's
// 32 registers 3 · 8 + 4; where a float16 is two of 16 (AVX2) or four of 32 (NEON), 1 · 6 sums take 12 or 24.
#define ABREAST (TILES == 3 ? 8 : 6)
// Inputs of one round, in which TILES · REACH · 64 B of weights and TILES · ROWS · 64 B of sums meet: 24 + 22 KiB of a first
// cache; half of it was 10 % slower. Weights that are read where they lie come from a second cache as fast: fewer rounds, 3 %.
#define REACH (W_IS_FLOAT ? 384 : 128)
// Input i of the round, tile t: a plain type of 32 bits is read where it lies.
#if W_IS_FLOAT
#define BLOCK_WEIGHT(t, i) vload16(i, (__global const float *)b[t])
#else
#define BLOCK_WEIGHT(t, i) w[(t) * REACH + (i)]
#endif

// finish16 for whole tiles of some rows, a pass for each term: with all terms' branches in one loop it took 10 % of a product
// of 384 inputs.
inline void finish_rows(float16 *sums, uint rows, __global const float *bias, __global const float *residual,
                        __global float *y, ulong stride, int activation) {
  if (bias) {
    float16 b[TILES];
#pragma unroll
    for (uint t = 0; t < TILES; ++t) b[t] = vload16(t, bias);
    for (uint n = 0; n < rows; ++n) {
#pragma unroll
      for (uint t = 0; t < TILES; ++t) sums[n * TILES + t] += b[t];
    }
  }
  if (activation)
    for (uint n = 0; n < rows * TILES; ++n) sums[n] = activate16(sums[n], activation);
  for (uint n = 0; n < rows; ++n) {
#pragma unroll
    for (uint t = 0; t < TILES; ++t) {
      float16 sum = sums[n * TILES + t];
      if (residual) sum += vload16(t, residual + n * stride);
      store16_f32(y, n * stride + t * 16, sum);
    }
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void linear_blocks(
    __global const float *x, ulong x_offset, weights_t weights, __global const float *bias, ulong bias_offset,
    __global const float *residual, ulong residual_offset, __global float *y, ulong y_offset, uint rows, uint inputs,
    uint outputs, uint stride, uint first, int activation, uint height) {
  uint tile = get_group_id(0) * TILES;
  uint last_tile = (outputs - 1) / 16;
  // The last rows, fewer than height, go first: PoCL deals half of the groups that are left at a time, and the first half would be
  // more than half of the work (7 % of a prefill of 512).
  uint first_row = (get_num_groups(1) - 1 - get_group_id(1)) * height;
  uint count = min(height, rows - first_row);
  x += x_offset + (ulong)first_row * inputs;
  y += y_offset;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  uint blocks = inputs / W_BLOCK;

  float16 sums[ROWS * TILES];
#if !W_IS_FLOAT
  float16 w[TILES * REACH];
#endif
  for (uint from = 0; from < inputs; from += REACH) {
    uint width = min((uint)REACH, inputs - from);
    weights_t b[TILES];  // tiles past the end repeat the last
#pragma unroll
    for (uint t = 0; t < TILES; ++t) b[t] = weight_block(weights, min(tile + t, last_tile), blocks, from / W_BLOCK);
#if !W_IS_FLOAT
    for (uint t = 0; t < TILES; ++t) {
      for (uint i = 0; i < width; i += W_STEP)
        expand(weight_block(weights, min(tile + t, last_tile), blocks, (from + i) / W_BLOCK), (from + i) % W_BLOCK,
               w + t * REACH + i);
    }
#endif
    for (uint row = 0; row < count; row += ABREAST) {
      __global const float *xs[ABREAST];  // rows past the end repeat the last
      float16 s[ABREAST * TILES];
#pragma unroll
      for (uint r = 0; r < ABREAST; ++r) xs[r] = x + (ulong)min(row + r, count - 1) * inputs + from;
      if (from == 0) {
#pragma unroll
        for (uint n = 0; n < ABREAST * TILES; ++n) s[n] = 0.0f;
      } else {
#pragma unroll
        for (uint n = 0; n < ABREAST * TILES; ++n) s[n] = sums[row * TILES + n];
      }
      for (uint i = 0; i < width; ++i) {
        float16 wi[TILES];
#pragma unroll
        for (uint t = 0; t < TILES; ++t) wi[t] = BLOCK_WEIGHT(t, i);
#pragma unroll
        for (uint r = 0; r < ABREAST; ++r) {
          float16 v = xs[r][i];
#pragma unroll
          for (uint t = 0; t < TILES; ++t) s[r * TILES + t] = fma(wi[t], v, s[r * TILES + t]);
        }
      }
#pragma unroll
      for (uint n = 0; n < ABREAST * TILES; ++n) sums[row * TILES + n] = s[n];
      if (from + REACH < inputs) continue;
      // Rows are finished here, so that memory takes them while the next are computed.
      uint done = min((uint)ABREAST, count - row);
      ulong at = (ulong)(first_row + row) * stride + first + tile * 16;
      if ((tile + TILES) * 16 <= outputs) {
        finish_rows(sums + row * TILES, done, bias ? bias + tile * 16 : 0, residual ? residual + at : 0, y + at, stride,
                    activation);
        continue;
      }
      for (uint n = 0; n < done; ++n, at += stride)
        for (uint t = 0; tile + t <= last_tile; ++t)
          finish16(sums[(row + n) * TILES + t], bias, residual, y, at + t * 16, (tile + t) * 16, outputs, activation);
    }
  }
}
