// linear_matrix: prefill by matrix units, of f16 and bf16 weights; y = activation(x · Wᵀ + bias) + residual. See linear.cl for the
// operands, fragment.cl for what a warp holds.
//
// A group of four warps makes 64 rows × 64 outputs, 32 × 32 a warp, DEPTH inputs at a time through local memory: x, rounded to
// the weights' type, as A; the weights, [tiles of 16 outputs][inputs][16], as B. Local memory: (64 · 20 + 32 · 36) · 4 B and
// `exchange`, 14 to 18 KiB.
//
// The rounding moves y by up to 2^-11 (bf16: 2^-8) of Σ|x||w|, where other strategies stay near 2^-22, and in f16 an |x| beyond
// 65504 becomes infinite: nobody's default.
// Defines: IS_F16, of the weights; LANES. Reference: Linear.compute. Cases: LinearCases.

#define DEPTH 32
#define SIDE 64
#define ITEMS (4 * LANES)

__kernel UNIT_KERNEL __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void linear_matrix(
    __global const float *x, ulong x_offset, __global const ushort *weights, __global const float *bias,
    ulong bias_offset, __global const float *residual, ulong residual_offset, __global float *y, ulong y_offset,
    uint rows, uint inputs, uint outputs, uint stride, uint first, int activation) {
  TILE_MEMORY(x_tile, SIDE, DEPTH);  // [row][input]
  TILE_MEMORY(w_tile, DEPTH, SIDE);  // [input][output]
  EXCHANGE_MEMORY(exchange, 4);
  uint item = get_local_id(0);
  uint lane = item % LANES;
  uint warp_row = item / (2 * LANES) * 32, warp_output = item / LANES % 2 * 32;
  uint first_output = get_group_id(0) * SIDE;
  uint first_row = get_group_id(1) * SIDE;
  x += x_offset;
  float sums[2][2][ELEMENTS];
  UNROLLED for (uint r = 0; r < 2; ++r)
    UNROLLED for (uint c = 0; c < 2; ++c)
      UNROLLED for (uint e = 0; e < ELEMENTS; ++e) sums[r][c][e] = 0.0f;
  for (uint from = 0; from < inputs; from += DEPTH) {
    for (uint n = item; n < DEPTH * SIDE / 8; n += ITEMS) {
      uint input = from + n / (SIDE / 8), part = n % (SIDE / 8), output = first_output + 8 * part;
      __local uint *to = w_tile + n / (SIDE / 8) * STRIDE(SIDE) + 4 * part;
      // A tile's outputs past the end are zeros.
      if (input < inputs && output < outputs)
        copy_eight(to, weights + ((ulong)(output / 16) * inputs + input) * 16 + output % 16, 1, true);
      else
        *(__local uint4 *)to = 0;
    }
    copies_commit();
    for (uint n = item; n < SIDE * DEPTH / 2; n += ITEMS) {
      uint row = first_row + n / (DEPTH / 2), input = from + n % (DEPTH / 2) * 2;
      __global const float *pair = x + (ulong)row * inputs + input;
      float low = row < rows && input < inputs ? pair[0] : 0.0f;
      float high = row < rows && input + 1 < inputs ? pair[1] : 0.0f;
      x_tile[n / (DEPTH / 2) * STRIDE(DEPTH) + n % (DEPTH / 2)] = fragment_word(low, high);
    }
    copies_arrived(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLLED for (uint k = 0; k < DEPTH; k += 16) {
      uint a[2][WORDS];
      UNROLLED for (uint r = 0; r < 2; ++r)
        fragment_a(a[r], x_tile + (warp_row + 16 * r) * STRIDE(DEPTH) + k / 2, STRIDE(DEPTH), lane);
      UNROLLED for (uint c = 0; c < 2; ++c) {
        uint b[WORDS];
        fragment_b_turned(b, w_tile + k * STRIDE(SIDE) + (warp_output + 16 * c) / 2, STRIDE(SIDE), lane);
        UNROLLED for (uint r = 0; r < 2; ++r) fragment_multiply(sums[r][c], a[r], b, exchange, item);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  UNROLLED for (uint n = 0; n < 4 * ELEMENTS; ++n) {
    uint r = n / (2 * ELEMENTS), c = n / ELEMENTS % 2, e = n % ELEMENTS;
    uint row = first_row + warp_row + 16 * r + FRAGMENT_ROW(lane, e);
    uint output = first_output + warp_output + 16 * c + FRAGMENT_COLUMN(lane, e);
    if (row >= rows || output >= outputs) continue;
    ulong at = (ulong)row * stride + first + output;
    float sum = activate(sums[r][c][e] + (bias ? bias[bias_offset + first + output] : 0.0f), activation);
    y[y_offset + at] = sum + (residual ? residual[residual_offset + at] : 0.0f);
  }
}
