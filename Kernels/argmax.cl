// argmax: the column of each row's greatest element, the first of equals; NaN never wins
//
// operand   shape             storage
// x         [rows, columns]   f32
// y         [rows]            i32
//
// Strategies, simplest first:
//   argmax_rows   one item per row; any device
//   argmax_group  one group of LANES items per row; for GPUs and CPU devices alike
// Defines: LANES, the group's size, a power of two (default 64). Reference: ArgMax.compute. Cases: ArgMaxCases.

#ifndef LANES
#define LANES 64
#endif

__kernel void argmax_rows(__global const float *x, ulong x_offset, __global int *y, ulong y_offset, uint rows,
                          uint columns) {
  ulong row = get_global_id(0);
  if (row >= rows) return;
  x += x_offset + row * columns;
  float best = -INFINITY;
  uint column = 0;
  bool found = false;
  for (uint i = 0; i < columns; ++i) {
    float v = x[i];
    if (v > best || (!found && v == best)) {
      best = v;
      column = i;
      found = true;
    }
  }
  y[y_offset + row] = (int)column;
}

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void argmax_group(__global const float *x, ulong x_offset,
                                                                             __global int *y, ulong y_offset,
                                                                             uint rows, uint columns) {
  __local float values[LANES];
  __local uint indices[LANES];
  uint lane = get_local_id(0);
  ulong row = get_group_id(0);
  x += x_offset + row * columns;
  // An item owns adjacent columns, so that a CPU device streams; `columns` marks "nothing found".
  uint span = (columns + LANES - 1) / LANES;
  uint end = min(columns, (lane + 1) * span);
  float best = -INFINITY;
  uint column = columns;
  for (uint i = lane * span; i < end; ++i) {
    float v = x[i];
    if (v > best || (column == columns && v == best)) {
      best = v;
      column = i;
    }
  }
  values[lane] = best;
  indices[lane] = column;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = LANES / 2; half_size > 0; half_size /= 2) {
    if (lane < half_size) {
      float other = values[lane + half_size];
      uint other_index = indices[lane + half_size];
      if (other_index < columns && (other > values[lane] || (other == values[lane] && other_index < indices[lane]))) {
        values[lane] = other;
        indices[lane] = other_index;
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (lane == 0) y[y_offset + row] = indices[0] < columns ? (int)indices[0] : 0;
}
