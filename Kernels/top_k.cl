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
//   top_k_group  one group of LANES items per row, each with a span of columns and the best value that is left in it at
//                hand; for GPUs and CPU devices alike: a step looks at one span again, not at the row: columns +
//                2 · k · columns / LANES reads, most of them sixteen at a time
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

// The greatest value of x[from … end) that comes after (last, column) in the order above; −∞ where there is none.
inline float best_left(__global const float *x, uint from, uint end, float last, int column) {
  const int16 lanes = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  float16 best = -INFINITY;
  uint i = from;
  for (; i + 16 <= end; i += 16) {  // a NaN is neither below nor above anything
    float16 v = vload16(0, x + i);
    int16 after = (v < last) | ((v == last) & (lanes + (int)i > column));
    best = select(best, v, after & (v > best));
  }
  float value = max16(best);
  for (; i < end; ++i)
    if (x[i] > value && BEFORE(last, column, x[i], (int)i)) value = x[i];
  return value;
}

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void top_k_group(
    __global const float *x, ulong x_offset, __global float *values, ulong values_offset, __global int *indices,
    ulong indices_offset, uint rows, uint columns, uint k) {
  __local float round_value[LANES];
  __local uint round_lane[LANES];  // LANES where the span is used up
  uint lane = get_local_id(0);
  ulong row = get_group_id(0);
  x += x_offset + row * columns;
  uint span = (columns + LANES - 1) / LANES;
  uint from = min(columns, lane * span);
  uint end = min(columns, from + span);
  uint left = end - from;
  // What was taken last of this span; at first something before all of it.
  float last = INFINITY;
  int column = (int)from - 1;
  float value = best_left(x, from, end, last, column);
  for (uint n = 0; n < k; ++n) {
    round_value[lane] = value;
    round_lane[lane] = left > 0 ? lane : LANES;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_size = LANES / 2; half_size > 0; half_size /= 2) {
      if (lane < half_size) {
        // Among equals the lower lane has the lower columns.
        float other = round_value[lane + half_size];
        uint other_lane = round_lane[lane + half_size];
        bool better = other_lane < LANES && (round_lane[lane] == LANES ||
                                             BEFORE(other, other_lane, round_value[lane], round_lane[lane]));
        if (better) {
          round_value[lane] = other;
          round_lane[lane] = other_lane;
        }
      }
      barrier(CLK_LOCAL_MEM_FENCE);
    }
    bool won = round_lane[0] == lane;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (won) {
      uint at = value < last ? from : (uint)(column + 1);
      while (at + 1 < end && NUMBER(x[at]) != value) ++at;
      values[values_offset + row * k + n] = NUMBER(x[at]);  // of two zeros the sign of this one
      indices[indices_offset + row * k + n] = (int)at;
      last = value;
      column = (int)at;
      left -= 1;
      value = best_left(x, from, end, last, column);
    }
  }
}
