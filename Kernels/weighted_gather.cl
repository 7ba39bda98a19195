// weighted_gather: y[i] = residual[i] + Σ_j weights[i, j] · x[rows[i, j]]
//
// operand       shape             storage
// x             [n, columns]      f32
// rows          [count, k]        i32; outside 0 … n − 1: a row of NaN
// weights       [count, k]        f32
// residual, y   [count, columns]  f32; residual may be absent (null), or y itself
//
// Strategy weighted_gather_items: one item per element; any device.
// Reference: WeightedGather.compute. Cases: WeightedGatherCases.

__kernel void weighted_gather_items(__global const float *x, ulong x_offset, __global const int *rows,
                                    ulong rows_offset, __global const float *weights, ulong weights_offset,
                                    __global const float *residual, ulong residual_offset, __global float *y,
                                    ulong y_offset, uint n, uint columns, uint k) {
  uint column = get_global_id(0);
  ulong i = get_global_id(1);
  ulong place = i * columns + column;
  float sum = residual ? residual[residual_offset + place] : 0.0f;
  for (uint j = 0; j < k; ++j) {
    int row = rows[rows_offset + i * k + j];
    // NaN stays in the sum, whatever follows.
    float value = row < 0 || (uint)row >= n ? NAN : x[x_offset + (ulong)row * columns + column];
    sum = fma(weights[weights_offset + i * k + j], value, sum);
  }
  y[y_offset + place] = sum;
}
