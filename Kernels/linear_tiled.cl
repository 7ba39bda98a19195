// linear_tiled: one group of 16 × 16 items makes 64 outputs × 64 rows, DEPTH inputs at a time through local memory; prefill on
// GPUs. See linear.cl.

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
