// linear_group: one group per tile and row, 16 lanes × SLICES slices of the inputs, summed through local memory; decode on GPUs.
// See linear.cl.
// Defines: SLICES (default 8).

#ifndef SLICES
#define SLICES 8
#endif

// norm_of by all items of a group.
inline float2 group_norm(__global const float *x, uint columns, int norm, float epsilon, __local float2 *scratch) {
  uint item = get_local_id(1) * 16 + get_local_id(0);
  float mean = 0.0f;
  if (norm == 2) {
    float2 total = 0.0f;
    for (uint i = item; i < columns; i += 16 * SLICES) total = add_exact(total, x[i]);
    mean = group_sum(total, item, 16 * SLICES, scratch) / columns;
  }
  float squares = 0.0f;
  for (uint i = item; i < columns; i += 16 * SLICES) squares = fma(x[i] - mean, x[i] - mean, squares);
  squares = group_sum((float2)(squares, 0.0f), item, 16 * SLICES, scratch);
  return (float2)(mean, 1.0f / sqrt(squares / columns + epsilon));
}

__kernel __attribute__((reqd_work_group_size(16, SLICES, 1))) void linear_group(FUSED_ARGUMENTS) {
  __local float partial[SLICES][16];
  __local float partial_up[SLICES][16];
  __local float2 scratch[16 * SLICES];
  uint lane = get_local_id(0);
  uint slice = get_local_id(1);
  uint tile = get_group_id(0);
  ulong row = get_group_id(2);
  x += x_offset + row * inputs;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  gain += gain_offset;
  if (shift) shift += shift_offset;
  float2 n = norm ? group_norm(x, inputs, norm, epsilon, scratch) : (float2)0.0f;
  uint blocks = inputs / W_BLOCK;
  float sum = 0.0f, up = 0.0f;
  for (uint from = slice * W_STEP; from < inputs; from += SLICES * W_STEP) {
    weights_t b = weight_block(weights, tile, blocks, from / W_BLOCK);
    for (uint i = 0; i < W_STEP; ++i) sum = fma(weight(b, lane, from % W_BLOCK + i), NORMED(from + i), sum);
    if (!gate) continue;
    b = weight_block(weights, tile + gate, blocks, from / W_BLOCK);
    for (uint i = 0; i < W_STEP; ++i) up = fma(weight(b, lane, from % W_BLOCK + i), NORMED(from + i), up);
  }
  partial[slice][lane] = sum;
  partial_up[slice][lane] = up;
  barrier(CLK_LOCAL_MEM_FENCE);
  uint output = tile * 16 + lane;
  if (slice > 0 || output >= outputs) return;
  for (uint other = 1; other < SLICES; ++other) {
    sum += partial[other][lane];
    up += partial_up[other][lane];
  }
  ulong at = row * stride + first + output;
  y[y_offset + at] = gate ? finish_gate(sum, up, bias, residual, at, output, 16 * gate, activation)
                          : finish(sum, bias, residual, at, output, activation);
}
