// softmax: y = e^(x − max x) / Σ e^(x − max x), row by row
//
// operand   shape             storage
// x, y      [rows, columns]   X_TYPE
//
// A row of −∞ alone gives 0; +∞ or NaN in a row gives NaN. Strategies, simplest first:
//   softmax_rows     one item per row; any device, no local memory
//   softmax_group    one group of LANES items per row; for GPUs
//   softmax_vectors  one item per row, sixteen columns at a time; for CPU devices
// Defines: X_TYPE (prelude.cl); LANES, the group's size, a power of two (default 64). Reference: Softmax.compute.
// Cases: SoftmaxCases.

#ifndef LANES
#define LANES 64
#endif

// fmax forgets a NaN, but e^(NaN − max) brings it back into the sum.
__kernel void softmax_rows(__global const X_T *x, ulong x_offset, __global X_T *y, ulong y_offset, uint rows,
                           uint columns) {
  ulong row = get_global_id(0);
  if (row >= rows) return;
  x += x_offset + row * columns;
  y += y_offset + row * columns;
  float greatest = -INFINITY;
  bool has_nan = false;
  for (uint i = 0; i < columns; ++i) {
    float v = X_LOAD(x, i);
    has_nan = has_nan || isnan(v);
    greatest = fmax(greatest, v);
  }
  bool empty = greatest == -INFINITY && !has_nan;
  float2 total = 0.0f;
  for (uint i = 0; i < columns && !empty; ++i) total = add_kept(total, exp(X_LOAD(x, i) - greatest));
  float scale = empty ? 0.0f : 1.0f / total.x;
  for (uint i = 0; i < columns; ++i) X_STORE(y, i, empty ? 0.0f : exp(X_LOAD(x, i) - greatest) * scale);
}

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void softmax_group(__global const X_T *x, ulong x_offset,
                                                                              __global X_T *y, ulong y_offset,
                                                                              uint rows, uint columns) {
  __local float scratch[LANES];
  __local int nans;
  uint lane = get_local_id(0);
  ulong row = get_group_id(0);
  x += x_offset + row * columns;
  y += y_offset + row * columns;
  if (lane == 0) nans = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  float greatest = -INFINITY;
  for (uint i = lane; i < columns; i += LANES) {
    float v = X_LOAD(x, i);
    if (isnan(v)) atomic_or(&nans, 1);
    greatest = fmax(greatest, v);
  }
  scratch[lane] = greatest;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = LANES / 2; half_size > 0; half_size /= 2) {
    if (lane < half_size) scratch[lane] = fmax(scratch[lane], scratch[lane + half_size]);
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  greatest = scratch[0];
  bool empty = greatest == -INFINITY && !nans;
  barrier(CLK_LOCAL_MEM_FENCE);
  float total = 0.0f;
  for (uint i = lane; i < columns && !empty; i += LANES) total += exp(X_LOAD(x, i) - greatest);
  scratch[lane] = total;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = LANES / 2; half_size > 0; half_size /= 2) {
    if (lane < half_size) scratch[lane] += scratch[lane + half_size];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  float scale = empty ? 0.0f : 1.0f / scratch[0];
  for (uint i = lane; i < columns; i += LANES) X_STORE(y, i, empty ? 0.0f : exp(X_LOAD(x, i) - greatest) * scale);
}

#define WAITS (sizeof(X_T) == 4)
#define EXPONENTIAL(i) exp16_bounded(X_LOAD16(x, i) - greatest)

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_vectors(__global const X_T *x, ulong x_offset,
                                                                             __global X_T *y, ulong y_offset,
                                                                             uint rows, uint columns) {
  ulong row = get_group_id(0);
  x += x_offset + row * columns;
  y += y_offset + row * columns;
  uint whole = columns & ~15u;
  // Four greatest side by side, for a processor's next waits on its last; NaN has the greatest bits of all, without the sign.
  float16 most[4];
  int16 bits[4];
#pragma unroll
  for (uint n = 0; n < 4; ++n) {
    most[n] = -INFINITY;
    bits[n] = 0;
  }
  for (uint from = 0; from < whole; from += 64) {
#pragma unroll
    for (uint n = 0; n < 4; ++n) {
      float16 v = X_LOAD16(x, min(from + 16 * n, whole - 16));  // past the last: the last again
      most[n] = select(most[n], v, v > most[n]);
      bits[n] = max(bits[n], as_int16(v) & 0x7fffffff);
    }
  }
  float greatest = max16(fmax(fmax(most[0], most[1]), fmax(most[2], most[3])));
  bool has_nan = any(max(max(bits[0], bits[1]), max(bits[2], bits[3])) > 0x7f800000);
  for (uint i = whole; i < columns; ++i) {
    float v = X_LOAD(x, i);
    has_nan = has_nan || isnan(v);
    greatest = fmax(greatest, v);
  }
  if (has_nan || isinf(greatest)) {
    for (uint i = 0; i < columns; ++i) X_STORE(y, i, has_nan || greatest > 0.0f ? NAN : 0.0f);
    return;
  }
  // In f32 the exponentials wait in y, else what storing them would round is computed twice.
  float16 lanes = 0.0f;
  for (uint i = 0; i < whole; i += 16) {
    float16 e = EXPONENTIAL(i);
    lanes += e;
    if (WAITS) X_STORE16(y, i, e);
  }
  float total = sum16(lanes);
  for (uint i = whole; i < columns; ++i) total += exp(X_LOAD(x, i) - greatest);
  float scale = 1.0f / total;
  for (uint i = 0; i < whole; i += 16) X_STORE16(y, i, (WAITS ? X_LOAD16(y, i) : EXPONENTIAL(i)) * scale);
  for (uint i = whole; i < columns; ++i) X_STORE(y, i, exp(X_LOAD(x, i) - greatest) * scale);
}
