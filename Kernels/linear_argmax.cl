// linear_argmax: the output of each row's greatest x · Wᵀ + bias; decode on CPU devices, elsewhere linear and argmax do it. See
// linear_decode.cl. Reference: LinearArgMax.compute. Cases: LinearCases.

// The greatest value seen and its output, −1 before the first; NaN is none.
#define GREATER(v, o, best, at) ((v) > (best) || ((v) == (best) && ((at) < 0 || (o) < (at))))

// y [rows] i32 = the output of each row's greatest x · Wᵀ + bias, as argmax has it of linear_lanes' y. An item keeps the greatest of
// its span in `greatest` [rows, items] of (value, output), both as bits; the last item compares these. `made` is 0 before and after.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void linear_argmax_lanes(
    __global const float *x, ulong x_offset, weights_t weights, __global const float *bias, ulong bias_offset,
    __global int *y, ulong y_offset, uint rows, uint inputs, uint outputs, uint span, __global int2 *greatest,
    volatile __global uint *made, __local float *prepared, uint together, uint step) {
  x += x_offset;
  y += y_offset;
  if (bias) bias += bias_offset;
  uint items = get_num_groups(0);
  uint from = get_group_id(0) * span;
  uint end = min((outputs + 15) / 16, from + span);
  for (uint row = 0; row < rows; row += together) {
    uint last = min(together - 1, rows - 1 - row);
    float16 best[TOGETHER];
    int16 at[TOGETHER];  // tiles
    for (uint n = 0; n <= last; ++n) {
      prepare(x + (ulong)(row + n) * inputs, inputs, 0, 0, 0, 0.0f, prepared + n * step);
      best[n] = -INFINITY;
      at[n] = -1;
    }
    for (uint tile = from; tile < end; ++tile) {
      float16 sums[TOGETHER];
      weights_t b = weight_block(weights, tile, inputs / W_BLOCK, 0);
      if (last == 0)
        lanes(prepared, step, b, inputs, last, 1, sums);
      else
        lanes(prepared, step, b, inputs, last, TOGETHER, sums);
      // Lanes past the last output are NaN.
      float edge[16];
      uint width = min(16u, outputs - tile * 16);
      for (uint lane = 0; lane < 16; ++lane) edge[lane] = lane >= width ? NAN : bias ? bias[tile * 16 + lane] : 0.0f;
      for (uint n = 0; n <= last; ++n) {
        float16 v = bias || width < 16 ? sums[n] + vload16(0, edge) : sums[n];
        int16 wins = v > best[n] | (v == best[n] & at[n] < 0);
        best[n] = select(best[n], v, wins);
        at[n] = select(at[n], (int16)(int)tile, wins);
      }
    }
    for (uint n = 0; n <= last; ++n) {
      float values[16], value = -INFINITY;
      int tiles[16], output = -1;
      vstore16(best[n], 0, values);
      vstore16(at[n], 0, tiles);
      for (int lane = 0; lane < 16; ++lane) {
        int other = tiles[lane] * 16 + lane;
        if (tiles[lane] < 0 || !GREATER(values[lane], other, value, output)) continue;
        value = values[lane];
        output = other;
      }
      greatest[(ulong)(row + n) * items + get_group_id(0)] = (int2)(as_int(value), output);
    }
  }
  mem_fence(CLK_GLOBAL_MEM_FENCE);
  if (atomic_inc(made) < items - 1) return;
  *made = 0;
  mem_fence(CLK_GLOBAL_MEM_FENCE);
  for (ulong row = 0; row < rows; ++row) {
    int2 first = (int2)(as_int(-INFINITY), -1);
    for (uint item = 0; item < items; ++item) {
      int2 other = greatest[row * items + item];
      if (other.y >= 0 && GREATER(as_float(other.x), other.y, as_float(first.x), first.y)) first = other;
    }
    y[row] = max(first.y, 0);
  }
}
