// rms_norm: y = s / √(mean(s²) + ε) · gain with s = x + residual
//
// operand                 shape            storage
// x, residual, sum, y     [rows, columns]  X_TYPE; residual and sum may be absent (null)
// gain                    [columns]        f32
//
// Strategies, simplest first:
//   rms_norm_rows     one item per row; any device, any size, no local memory
//   rms_norm_group    one group of LANES items per row, sums through local memory; for GPUs
//   rms_norm_vectors  one item per row, sixteen columns at a time; for CPU devices
// Defines: X_TYPE (prelude.cl); LANES, the group's size, a power of two (default 64). Reference: RMSNorm.compute.
// Cases: RMSNormCases.

#ifndef LANES
#define LANES 64
#endif

#define S_LOAD(i) (X_LOAD(x, i) + (residual ? X_LOAD(residual, i) : 0.0f))
#define S_LOAD16(i) (X_LOAD16(x, i) + (residual ? X_LOAD16(residual, i) : (float16)0.0f))

__kernel void rms_norm_rows(__global const X_T *x, ulong x_offset, __global const X_T *residual,
                            ulong residual_offset, __global const float *gain, ulong gain_offset, __global X_T *sum,
                            ulong sum_offset, __global X_T *y, ulong y_offset, uint rows, uint columns,
                            float epsilon) {
  ulong row = get_global_id(0);
  if (row >= rows) return;
  x += x_offset + row * columns;
  if (residual) residual += residual_offset + row * columns;
  if (sum) sum += sum_offset + row * columns;
  y += y_offset + row * columns;
  gain += gain_offset;

  float2 squares = 0.0f;
  for (uint i = 0; i < columns; ++i) {
    float s = S_LOAD(i);
    squares = add_kept(squares, s * s);
  }
  float scale = 1.0f / sqrt(squares.x / columns + epsilon);
  for (uint i = 0; i < columns; ++i) {
    float s = S_LOAD(i);
    X_STORE(y, i, s * scale * gain[i]);
    if (sum) X_STORE(sum, i, s);
  }
}

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void rms_norm_group(
    __global const X_T *x, ulong x_offset, __global const X_T *residual, ulong residual_offset,
    __global const float *gain, ulong gain_offset, __global X_T *sum, ulong sum_offset, __global X_T *y,
    ulong y_offset, uint rows, uint columns, float epsilon) {
  __local float scratch[LANES];
  uint lane = get_local_id(0);
  ulong row = get_group_id(0);
  x += x_offset + row * columns;
  if (residual) residual += residual_offset + row * columns;
  if (sum) sum += sum_offset + row * columns;
  y += y_offset + row * columns;
  gain += gain_offset;

  float squares = 0.0f;
  for (uint i = lane; i < columns; i += LANES) {
    float s = S_LOAD(i);
    squares = fma(s, s, squares);
  }
  scratch[lane] = squares;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = LANES / 2; half_size > 0; half_size /= 2) {
    if (lane < half_size) scratch[lane] += scratch[lane + half_size];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  float scale = 1.0f / sqrt(scratch[0] / columns + epsilon);
  for (uint i = lane; i < columns; i += LANES) {
    float s = S_LOAD(i);
    X_STORE(y, i, s * scale * gain[i]);
    if (sum) X_STORE(sum, i, s);
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void rms_norm_vectors(
    __global const X_T *x, ulong x_offset, __global const X_T *residual, ulong residual_offset,
    __global const float *gain, ulong gain_offset, __global X_T *sum, ulong sum_offset, __global X_T *y,
    ulong y_offset, uint rows, uint columns, float epsilon) {
  ulong row = get_group_id(0);
  x += x_offset + row * columns;
  if (residual) residual += residual_offset + row * columns;
  if (sum) sum += sum_offset + row * columns;
  y += y_offset + row * columns;
  gain += gain_offset;
  uint whole = columns & ~15u;

  // Two chains hide the latency.
  float16 even = 0.0f, odd = 0.0f;
  for (uint i = 0; i < whole; i += 32) {
    float16 s = S_LOAD16(i);
    even = fma(s, s, even);
    if (i + 16 == whole) break;
    s = S_LOAD16(i + 16);
    odd = fma(s, s, odd);
  }
  float squares = sum16(even + odd);
  for (uint i = whole; i < columns; ++i) {
    float s = S_LOAD(i);
    squares = fma(s, s, squares);
  }
  float scale = 1.0f / sqrt(squares / columns + epsilon);
  for (uint i = 0; i < whole; i += 16) {
    float16 s = S_LOAD16(i);
    X_STORE16(y, i, s * scale * vload16(0, gain + i));
    if (sum) X_STORE16(sum, i, s);
  }
  for (uint i = whole; i < columns; ++i) {
    float s = S_LOAD(i);
    X_STORE(y, i, s * scale * gain[i]);
    if (sum) X_STORE(sum, i, s);
  }
}
