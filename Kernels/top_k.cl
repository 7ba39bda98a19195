// top_k: the k greatest elements of each row and their columns, greatest first, the lower column first among equals
//
// operand   shape             storage
// x         [rows, columns]   f32; NaN counts as −∞
// values    [rows, k]         f32
// indices   [rows, k]         i32
//
// Each step finds the best element that comes after the last one found, in the order (value descending, column
// ascending), so that nothing is marked or moved: k · columns reads. Strategies, simplest first:
//   top_k_rows   one item per row; any device
//   top_k_group  one group of LANES items per row, each with a span of columns and its span's best at hand; for GPUs and
//                CPU devices alike: a step looks at one span again, not at the row: columns + k · columns / LANES reads
// Defines: LANES, the group's size, a power of two (default 64). Reference: TopK.compute. Cases: TopKCases.

#ifndef LANES
#define LANES 64
#endif

#define NUMBER(v) (isnan(v) ? -INFINITY : (v))
// Does (value a, column i) come before (value b, column j)?
#define BEFORE(a, i, b, j) ((a) > (b) || ((a) == (b) && (i) < (j)))

// The first element of x[from … end) after (last, last_column) in the order above; `end` where there is none.
inline uint next_best(__global const float *x, uint from, uint end, float last, uint last_column, bool any, float *value) {
  uint best = end;
  float best_value = -INFINITY;
  for (uint i = from; i < end; ++i) {
    float v = NUMBER(x[i]);
    bool after = !any || BEFORE(last, last_column, v, i);
    if (after && (best == end || v > best_value)) {
      best = i;
      best_value = v;
    }
  }
  *value = best_value;
  return best;
}

__kernel void top_k_rows(__global const float *x, ulong x_offset, __global float *values, ulong values_offset,
                         __global int *indices, ulong indices_offset, uint rows, uint columns, uint k) {
  ulong row = get_global_id(0);
  if (row >= rows) return;
  x += x_offset + row * columns;
  float last = 0.0f;
  uint column = 0;
  for (uint n = 0; n < k; ++n) {
    column = next_best(x, 0, columns, last, column, n > 0, &last);
    values[values_offset + row * k + n] = last;
    indices[indices_offset + row * k + n] = (int)column;
  }
}

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void top_k_group(
    __global const float *x, ulong x_offset, __global float *values, ulong values_offset, __global int *indices,
    ulong indices_offset, uint rows, uint columns, uint k) {
  __local float best_value[LANES];   // of each item's span, what is left of it
  __local uint best_column[LANES];   // `columns` when the span is used up
  __local float round_value[LANES];
  __local uint round_column[LANES];
  uint lane = get_local_id(0);
  ulong row = get_group_id(0);
  x += x_offset + row * columns;
  uint span = (columns + LANES - 1) / LANES;
  uint from = min(columns, lane * span);
  uint end = min(columns, from + span);
  float value;
  uint column = next_best(x, from, end, 0.0f, 0, false, &value);
  best_value[lane] = value;
  best_column[lane] = column == end ? columns : column;
  for (uint n = 0; n < k; ++n) {
    round_value[lane] = best_value[lane];
    round_column[lane] = best_column[lane];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_size = LANES / 2; half_size > 0; half_size /= 2) {
      if (lane < half_size) {
        float other = round_value[lane + half_size];
        uint other_column = round_column[lane + half_size];
        bool better = other_column < columns && (round_column[lane] == columns ||
                                                 BEFORE(other, other_column, round_value[lane], round_column[lane]));
        if (better) {
          round_value[lane] = other;
          round_column[lane] = other_column;
        }
      }
      barrier(CLK_LOCAL_MEM_FENCE);
    }
    float won_value = round_value[0];
    uint won = round_column[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane == 0) {
      values[values_offset + row * k + n] = won_value;
      indices[indices_offset + row * k + n] = (int)won;
    }
    if (won == best_column[lane] && won < columns) {
      column = next_best(x, from, end, won_value, won, true, &value);
      best_value[lane] = value;
      best_column[lane] = column == end ? columns : column;
    }
  }
}
