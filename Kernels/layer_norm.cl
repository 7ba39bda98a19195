// layer_norm: y = (s − mean(s)) / √(mean((s − mean(s))²) + ε) · gain + bias with s = x + residual
//
// operand                 shape            storage
// x, residual, sum, y     [rows, columns]  X_TYPE; residual and sum may be absent (null)
// gain, bias              [columns]        f32; bias may be absent
//
// Strategies, simplest first; s is read again from x and residual in each pass:
//   layer_norm_rows     one item per row; any device, any size, no local memory
//   layer_norm_group    one group of LANES items per row, sums through local memory; for GPUs
//   layer_norm_vectors  one item per row, sixteen columns at a time, a sum in f32 kept in y; for CPU devices
// The mean is summed exactly (norm.cl): where s is as small as the mean, roundings would show.
// Defines: X_TYPE (prelude.cl); LANES, the group's size, a power of two (default 64). Reference: LayerNorm.compute.
// Cases: LayerNormCases.

#ifndef LANES
#define LANES 64
#endif

#define S_LOAD(i) (X_LOAD(x, i) + (residual ? X_LOAD(residual, i) : 0.0f))

__kernel void layer_norm_rows(__global const X_T *x, ulong x_offset, __global const X_T *residual,
                              ulong residual_offset, __global const float *gain, ulong gain_offset,
                              __global const float *bias, ulong bias_offset, __global X_T *sum, ulong sum_offset,
                              __global X_T *y, ulong y_offset, uint rows, uint columns, float epsilon) {
  ulong row = get_global_id(0);
  if (row >= rows) return;
  x += x_offset + row * columns;
  if (residual) residual += residual_offset + row * columns;
  if (sum) sum += sum_offset + row * columns;
  y += y_offset + row * columns;
  gain += gain_offset;
  if (bias) bias += bias_offset;

  float2 total = 0.0f;
  for (uint i = 0; i < columns; ++i) total = add_exact(total, S_LOAD(i));
  float mean = (total.x - total.y) / columns;
  float2 variance = 0.0f;
  for (uint i = 0; i < columns; ++i) {
    float d = S_LOAD(i) - mean;
    variance = add_kept(variance, d * d);
  }
  float scale = 1.0f / sqrt(variance.x / columns + epsilon);
  for (uint i = 0; i < columns; ++i) {
    float s = S_LOAD(i);
    X_STORE(y, i, fma((s - mean) * scale, gain[i], bias ? bias[i] : 0.0f));
    if (sum) X_STORE(sum, i, s);
  }
}

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void layer_norm_group(
    __global const X_T *x, ulong x_offset, __global const X_T *residual, ulong residual_offset,
    __global const float *gain, ulong gain_offset, __global const float *bias, ulong bias_offset, __global X_T *sum,
    ulong sum_offset, __global X_T *y, ulong y_offset, uint rows, uint columns, float epsilon) {
  __local float2 scratch[LANES];
  uint lane = get_local_id(0);
  ulong row = get_group_id(0);
  x += x_offset + row * columns;
  if (residual) residual += residual_offset + row * columns;
  if (sum) sum += sum_offset + row * columns;
  y += y_offset + row * columns;
  gain += gain_offset;
  if (bias) bias += bias_offset;

  float2 partial = 0.0f;
  for (uint i = lane; i < columns; i += LANES) partial = add_exact(partial, S_LOAD(i));
  float mean = group_sum(partial, lane, LANES, scratch) / columns;
  float variance = 0.0f;
  for (uint i = lane; i < columns; i += LANES) {
    float d = S_LOAD(i) - mean;
    variance = fma(d, d, variance);
  }
  float scale = 1.0f / sqrt(group_sum((float2)(variance, 0.0f), lane, LANES, scratch) / columns + epsilon);
  for (uint i = lane; i < columns; i += LANES) {
    float s = S_LOAD(i);
    X_STORE(y, i, fma((s - mean) * scale, gain[i], bias ? bias[i] : 0.0f));
    if (sum) X_STORE(sum, i, s);
  }
}

#define S_LOAD16(i) (X_LOAD16(x, i) + (residual ? X_LOAD16(residual, i) : (float16)0.0f))

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void layer_norm_vectors(
    __global const X_T *x, ulong x_offset, __global const X_T *residual, ulong residual_offset,
    __global const float *gain, ulong gain_offset, __global const float *bias, ulong bias_offset, __global X_T *sum,
    ulong sum_offset, __global X_T *y, ulong y_offset, uint rows, uint columns, float epsilon) {
  ulong row = get_group_id(0);
  x += x_offset + row * columns;
  if (residual) residual += residual_offset + row * columns;
  if (sum) sum += sum_offset + row * columns;
  y += y_offset + row * columns;
  gain += gain_offset;
  if (bias) bias += bias_offset;
  uint whole = columns & ~15u;

  // A sum in f32 waits in y, so that it is made once; a narrower type would round it.
  bool waits = residual && sizeof(X_T) == 4;
  // Two chains hide the latency.
  float16 first = 0.0f, second = 0.0f, extra = 0.0f;
  for (uint i = 0; i < whole; i += 32) {
    float16 s = S_LOAD16(i);
    if (waits) X_STORE16(y, i, s);
    SUM_KEPT(float16, left, extra, first, s);
    first = left;
    if (i + 16 == whole) break;
    s = S_LOAD16(i + 16);
    if (waits) X_STORE16(y, i + 16, s);
    SUM_KEPT(float16, right, extra, second, s);
    second = right;
  }
  float2 total = sum_kept32(first, second, extra);
  for (uint i = whole; i < columns; ++i) {
    float s = S_LOAD(i);
    if (waits) X_STORE(y, i, s);
    total = add_exact(total, s);
  }
  if (waits) {
    x = y;
    residual = 0;
  }
  float mean = (total.x - total.y) / columns;
  float16 even = 0.0f, odd = 0.0f;
  for (uint i = 0; i < whole; i += 32) {
    float16 d = S_LOAD16(i) - mean;
    even = fma(d, d, even);
    if (i + 16 == whole) break;
    d = S_LOAD16(i + 16) - mean;
    odd = fma(d, d, odd);
  }
  float variance = sum16(even + odd);
  for (uint i = whole; i < columns; ++i) {
    float d = S_LOAD(i) - mean;
    variance = fma(d, d, variance);
  }
  float scale = 1.0f / sqrt(variance / columns + epsilon);
  for (uint i = 0; i < whole; i += 16) {
    float16 s = S_LOAD16(i);
    float16 b = bias ? vload16(0, bias + i) : (float16)0.0f;
    X_STORE16(y, i, fma((s - mean) * scale, vload16(0, gain + i), b));
    if (sum) X_STORE16(sum, i, s);
  }
  for (uint i = whole; i < columns; ++i) {
    float s = S_LOAD(i);
    X_STORE(y, i, fma((s - mean) * scale, gain[i], bias ? bias[i] : 0.0f));
    if (sum) X_STORE(sum, i, s);
  }
}
