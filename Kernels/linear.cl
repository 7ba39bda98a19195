// linear: y = activation(x · Wᵀ + bias) + residual
//
// operand    shape                     storage
// x          [rows, inputs]            f32
// weights    [tiles, blocks]           tiles of weights.cl, expanded in registers only
// bias       [outputs]                 f32, may be absent
// residual   [rows, outputs]           f32, may be absent, may be y
// y          [rows, stride]            f32; this part of the weight makes columns first … first + outputs
//
// Strategies, simplest first:
//   linear_items   one item per element of y; any device, any size, both phases
//   linear_group   one group per tile and row: 16 lanes × SLICES slices of the inputs, summed through local memory;
//                  decode on GPUs
//   linear_tiled   one group of 16 × 16 items makes 64 outputs × 64 rows, DEPTH inputs at a time through local memory;
//                  prefill on GPUs
//   linear_lanes   one item per span of tiles, float16 = the tile's outputs; decode on CPU devices
//   linear_blocks  one item makes a tile for PANELS · 16 rows: a block of weights is expanded once, then each lane of
//                  x, broadcast, meets sixteen outputs; prefill on CPU devices. linear_panels transposes x for it
//   linear_clblast the library's matrix product on weights laid out plainly by linear_unpack; linear_epilogue finishes
// Defines: W_TYPE (weights.cl); SLICES (default 8); PANELS (default 4). Reference: Linear.compute. Cases: LinearCases.

#ifndef SLICES
#define SLICES 8
#endif
#ifndef PANELS
#define PANELS 4
#endif

inline float finish(float sum, __global const float *bias, __global const float *residual, ulong at, uint output,
                    int activation) {
  if (bias) sum += bias[output];
  sum = activate(sum, activation);
  return residual ? sum + residual[at] : sum;
}

__kernel void linear_items(__global const float *x, ulong x_offset, weights_t weights, __global const float *bias,
                           ulong bias_offset, __global const float *residual, ulong residual_offset,
                           __global float *y, ulong y_offset, uint rows, uint inputs, uint outputs, uint stride,
                           uint first, int activation) {
  uint output = get_global_id(0);
  ulong row = get_global_id(1);
  if (output >= outputs || row >= rows) return;
  x += x_offset + row * inputs;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  uint blocks = inputs / W_BLOCK;
  float sum = 0.0f;
  for (uint block = 0; block < blocks; ++block) {
    weights_t b = weight_block(weights, output / 16, blocks, block);
    for (uint i = 0; i < W_BLOCK; ++i) sum = fma(weight(b, output % 16, i), x[block * W_BLOCK + i], sum);
  }
  ulong at = row * stride + first + output;
  y[y_offset + at] = finish(sum, bias, residual, at, output, activation);
}

__kernel __attribute__((reqd_work_group_size(16, SLICES, 1))) void linear_group(
    __global const float *x, ulong x_offset, weights_t weights, __global const float *bias, ulong bias_offset,
    __global const float *residual, ulong residual_offset, __global float *y, ulong y_offset, uint rows, uint inputs,
    uint outputs, uint stride, uint first, int activation) {
  __local float partial[SLICES][16];
  uint lane = get_local_id(0);
  uint slice = get_local_id(1);
  uint tile = get_group_id(0);
  ulong row = get_group_id(2);
  x += x_offset + row * inputs;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  uint blocks = inputs / W_BLOCK;
  float sum = 0.0f;
  for (uint from = slice * W_STEP; from < inputs; from += SLICES * W_STEP) {
    weights_t b = weight_block(weights, tile, blocks, from / W_BLOCK);
    for (uint i = 0; i < W_STEP; ++i) sum = fma(weight(b, lane, from % W_BLOCK + i), x[from + i], sum);
  }
  partial[slice][lane] = sum;
  barrier(CLK_LOCAL_MEM_FENCE);
  uint output = tile * 16 + lane;
  if (slice > 0 || output >= outputs) return;
  for (uint other = 1; other < SLICES; ++other) sum += partial[other][lane];
  ulong at = row * stride + first + output;
  y[y_offset + at] = finish(sum, bias, residual, at, output, activation);
}

#define DEPTH 32    // inputs of one round: those that are expanded at once of the quantised types
#define TILED 64    // outputs and rows of one group; DEPTH · (64 + 1) · 4 B · 2 = 16.25 KiB of local memory

__kernel __attribute__((reqd_work_group_size(16, 16, 1))) void linear_tiled(
    __global const float *x, ulong x_offset, weights_t weights, __global const float *bias, ulong bias_offset,
    __global const float *residual, ulong residual_offset, __global float *y, ulong y_offset, uint rows, uint inputs,
    uint outputs, uint stride, uint first, int activation) {
  // One column of padding keeps the transposing stores of x off one bank.
  __local float w_tile[DEPTH][TILED + 1];
  __local float x_tile[DEPTH][TILED + 1];
  uint column = get_local_id(0);
  uint line = get_local_id(1);
  uint item = line * 16 + column;
  uint first_output = get_group_id(0) * TILED;
  uint first_row = get_group_id(1) * TILED;
  x += x_offset;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  uint blocks = inputs / W_BLOCK;
  float sum[4][4] = {{0.0f}};
  for (uint from = 0; from < inputs; from += DEPTH) {
    for (uint n = item; n < DEPTH * TILED; n += 256) {
      uint o = n % TILED, i = n / TILED;
      uint output = first_output + o, input = from + i;
      float w = 0.0f;
      if (output < outputs && input < inputs)
        w = weight(weight_block(weights, output / 16, blocks, input / W_BLOCK), output % 16, input % W_BLOCK);
      w_tile[i][o] = w;
      uint r = n / DEPTH, k = n % DEPTH;  // rows of x lie along the inputs
      x_tile[k][r] = first_row + r < rows && from + k < inputs ? x[(ulong)(first_row + r) * inputs + from + k] : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; i < DEPTH; ++i) {
      float w[4], v[4];
      for (uint n = 0; n < 4; ++n) {
        w[n] = w_tile[i][column + 16 * n];
        v[n] = x_tile[i][line + 16 * n];
      }
      for (uint r = 0; r < 4; ++r)
        for (uint o = 0; o < 4; ++o) sum[r][o] = fma(v[r], w[o], sum[r][o]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  for (uint r = 0; r < 4; ++r) {
    uint row = first_row + line + 16 * r;
    if (row >= rows) continue;
    for (uint o = 0; o < 4; ++o) {
      uint output = first_output + column + 16 * o;
      if (output >= outputs) continue;
      ulong at = (ulong)row * stride + first + output;
      y[y_offset + at] = finish(sum[r][o], bias, residual, at, output, activation);
    }
  }
}

// Sixteen outputs of one row: the epilogue in lanes where the tile is whole, one by one at the end.
inline void finish16(float16 sum, __global const float *bias, __global const float *residual, __global float *y,
                     ulong at, uint output, uint outputs, int activation) {
  if (output + 16 <= outputs) {
    if (bias) sum += vload16(0, bias + output);
    sum = activate16(sum, activation);
    if (residual) sum += vload16(0, residual + at);
    vstore16(sum, 0, y + at);
  } else {
    float lanes[16];
    vstore16(sum, 0, lanes);
    for (uint lane = 0; output + lane < outputs; ++lane)
      y[at + lane] = finish(lanes[lane], bias, residual, at + lane, output + lane, activation);
  }
}

// Rows whose sums grow side by side, so that each block of weights is read once for them. Blocks of quantised types keep
// the registers full with one row: four took 5.7 ms where one took 1.05 (q4_1, 576 × 49152, AVX-512).
#define TOGETHER (W_QUANTISED ? 1 : 4)

// A tile's products with `count` rows of x, each summed as it is alone; rows past `last` repeat that. `count` is a
// constant at each call, so that the sums are registers.
inline void lanes(__global const float *x, weights_t b, uint blocks, uint inputs, uint last, const uint count,
                  float16 *sums) {
  float16 s[TOGETHER];
  ulong at[TOGETHER];
#pragma unroll
  for (uint n = 0; n < count; ++n) {
    s[n] = 0.0f;
    at[n] = (ulong)min(n, last) * inputs;
  }
  for (uint block = 0; block < blocks; ++block, b += W_TILE_BYTES, x += W_BLOCK) {
#pragma unroll
    for (uint n = 0; n < count; ++n) s[n] = product(b, x + at[n], s[n]);
  }
#pragma unroll
  for (uint n = 0; n < count; ++n) sums[n] = s[n];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void linear_lanes(
    __global const float *x, ulong x_offset, weights_t weights, __global const float *bias, ulong bias_offset,
    __global const float *residual, ulong residual_offset, __global float *y, ulong y_offset, uint rows, uint inputs,
    uint outputs, uint stride, uint first, int activation, uint span) {
  x += x_offset;
  y += y_offset;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  uint blocks = inputs / W_BLOCK;
  uint tiles = (outputs + 15) / 16;
  uint from = get_group_id(0) * span;
  uint end = min(tiles, from + span);
  for (uint tile = from; tile < end; ++tile) {
    weights_t b = weight_block(weights, tile, blocks, 0);
    for (uint row = 0; row < rows; row += TOGETHER) {
      float16 sums[TOGETHER];
      uint last = min(TOGETHER - 1u, rows - 1 - row);
      if (last == 0)
        lanes(x + (ulong)row * inputs, b, blocks, inputs, last, 1, sums);
      else
        lanes(x + (ulong)row * inputs, b, blocks, inputs, last, TOGETHER, sums);
      for (uint n = 0; n <= last; ++n)
        finish16(sums[n], bias, residual, y, (ulong)(row + n) * stride + first + tile * 16, tile * 16, outputs,
                 activation);
    }
  }
}

// x [rows, inputs] → panels [ceil(rows / 16), inputs, 16]: sixteen rows beside one another, rows past the end 0.
// One item turns a square of 16 × 16.
__kernel void linear_panels(__global const float *x, ulong x_offset, __global float *panels, uint rows, uint inputs) {
  uint from = get_global_id(0) * 16;
  uint panel = get_global_id(1);
  if (from >= inputs) return;
  uint width = min(16u, inputs - from);
  uint valid = min(16u, rows - panel * 16);
  x += x_offset + (ulong)panel * 16 * inputs + from;
  panels += ((ulong)panel * inputs + from) * 16;
  for (uint row = 0; row < 16; ++row)
    for (uint i = 0; i < width; ++i) panels[i * 16 + row] = row < valid ? x[(ulong)row * inputs + i] : 0.0f;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void linear_blocks(
    __global const float *panels, weights_t weights, __global const float *bias, ulong bias_offset,
    __global const float *residual, ulong residual_offset, __global float *y, ulong y_offset, uint rows, uint inputs,
    uint outputs, uint stride, uint first, int activation) {
  uint tile = get_group_id(0);
  uint first_panel = get_group_id(1) * PANELS;
  uint count = min((uint)PANELS, (rows + 15) / 16 - first_panel);
  y += y_offset;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  panels += (ulong)first_panel * inputs * 16;
  uint blocks = inputs / W_BLOCK;

  float16 sums[PANELS * 16];  // per row of x, its sixteen outputs: 4 KiB, beside the 2 KiB of `w` in the first cache
  for (uint n = 0; n < PANELS * 16; ++n) sums[n] = 0.0f;
  float16 w[DEPTH];
  for (uint from = 0; from < inputs; from += DEPTH) {
    uint width = min((uint)DEPTH, inputs - from);
    for (uint i = 0; i < width; i += W_STEP)
      expand(weight_block(weights, tile, blocks, (from + i) / W_BLOCK), (from + i) % W_BLOCK, w + i);
    for (uint panel = 0; panel < count; ++panel) {
      __global const float *xs = panels + ((ulong)panel * inputs + from) * 16;
      float16 a[16];
#pragma unroll
      for (uint row = 0; row < 16; ++row) a[row] = sums[panel * 16 + row];
      for (uint i = 0; i < width; ++i, xs += 16) {
        float16 wi = w[i];
#pragma unroll
        for (uint row = 0; row < 16; ++row) a[row] = fma(wi, (float16)xs[row], a[row]);
      }
#pragma unroll
      for (uint row = 0; row < 16; ++row) sums[panel * 16 + row] = a[row];
    }
  }
  uint last = min(count * 16, rows - first_panel * 16);
  for (uint row = 0; row < last; ++row)
    finish16(sums[row], bias, residual, y, (ulong)(first_panel * 16 + row) * stride + first + tile * 16, tile * 16,
             outputs, activation);
}

// weights → plain [outputs, inputs] f32 for a library's matrix product.
__kernel void linear_unpack(weights_t weights, __global float *plain, uint inputs, uint outputs) {
  uint input = get_global_id(0);
  uint output = get_global_id(1);
  if (input >= inputs || output >= outputs) return;
  weights_t b = weight_block(weights, output / 16, inputs / W_BLOCK, input / W_BLOCK);
  plain[(ulong)output * inputs + input] = weight(b, output % 16, input % W_BLOCK);
}

// product [rows, outputs] → y, with bias, activation and residual.
__kernel void linear_epilogue(__global const float *product, __global const float *bias, ulong bias_offset,
                              __global const float *residual, ulong residual_offset, __global float *y,
                              ulong y_offset, uint rows, uint outputs, uint stride, uint first, int activation) {
  uint output = get_global_id(0);
  ulong row = get_global_id(1);
  if (output >= outputs || row >= rows) return;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  ulong at = row * stride + first + output;
  y[y_offset + at] = finish(product[row * outputs + output], bias, residual, at, output, activation);
}
