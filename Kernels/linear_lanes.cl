// linear_lanes: one item per span of tiles; decode on CPU devices. See linear.cl and linear_decode.cl.
//
// Layers that are asked for one after the other become one launch, linear_chain.

// The same of gates and what they let through.
inline void finish16_gate(float16 sum, float16 up, __global const float *bias, __global const float *residual,
                          __global float *y, ulong at, uint output, uint between, int activation) {
  if (bias) {
    sum += vload16(0, bias + output);
    up += vload16(0, bias + between + output);
  }
  sum = activate16(sum, activation) * up;
  if (residual) sum += vload16(0, residual + at);
  store16_f32(y, at, sum);
}

// Tiles `from` to `end` of `last` + 1 rows from `row` on, which are prepared.
inline void make_tiles(__local const float *prepared, uint step, weights_t weights, __global const float *bias,
                       __global const float *residual, __global float *y, uint row, uint last, uint inputs, uint outputs,
                       uint stride, uint first, int activation, uint gate, uint from, uint end) {
  for (uint tile = from; tile < end; ++tile) {
    float16 sums[TOGETHER], ups[TOGETHER];
    for (uint half_of = 0; half_of < (gate ? 2 : 1); ++half_of) {
      weights_t b = weight_block(weights, tile + half_of * gate, inputs / W_BLOCK, 0);
      if (last == 0)
        lanes(prepared, step, b, inputs, last, 1, half_of ? ups : sums);
      else
        lanes(prepared, step, b, inputs, last, TOGETHER, half_of ? ups : sums);
    }
    for (uint n = 0; n <= last; ++n) {
      ulong at = (ulong)(row + n) * stride + first + tile * 16;
      if (gate)
        finish16_gate(sums[n], ups[n], bias, residual, y, at, tile * 16, 16 * gate, activation);
      else
        finish16(sums[n], bias, residual, y, at, tile * 16, outputs, activation);
    }
  }
}

// `prepared` has room for `together` rows, 1 or TOGETHER, that lie `step` apart.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void linear_lanes(FUSED_ARGUMENTS, uint span,
                                                                          __local float *prepared, uint together,
                                                                          uint step) {
  x += x_offset;
  y += y_offset;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  gain += gain_offset;
  if (shift) shift += shift_offset;
  uint tiles = (outputs + 15) / 16;
  uint from = get_group_id(0) * span;
  for (uint row = 0; row < rows; row += together) {
    uint last = min(together - 1, rows - 1 - row);
    for (uint n = 0; n <= last; ++n)
      prepare(x + (ulong)(row + n) * inputs, inputs, norm, gain, shift, epsilon, prepared + n * step);
    make_tiles(prepared, step, weights, bias, residual, y, row, last, inputs, outputs, stride, first, activation, gate, from,
               min(tiles, from + span));
  }
}

// One layer of a chain.
typedef struct {
  __global const float *x;
  weights_t weights;
  __global const float *bias, *residual;
  __global float *y;
  __global const float *gain, *shift;
  uint inputs, outputs, span, gate;
  int activation, norm;
  float epsilon;
} Stage;

#define STAGE_ARGUMENTS(n)                                                                                             \
  __global const float *x##n, ulong x_offset##n, weights_t weights##n, __global const float *bias##n, ulong bias_offset##n, \
      __global const float *residual##n, ulong residual_offset##n, __global float *y##n, ulong y_offset##n, uint inputs##n, \
      uint outputs##n, int activation##n, int norm##n, __global const float *gain##n, ulong gain_offset##n,             \
      __global const float *shift##n, ulong shift_offset##n, float epsilon##n, uint gate##n, uint span##n
#define STAGE(n)                                                                                                       \
  {                                                                                                                    \
    x##n + x_offset##n, weights##n, bias##n ? bias##n + bias_offset##n : bias##n,                                       \
        residual##n ? residual##n + residual_offset##n : residual##n, y##n + y_offset##n, gain##n + gain_offset##n,     \
        shift##n ? shift##n + shift_offset##n : shift##n, inputs##n, outputs##n, span##n, gate##n, activation##n,       \
        norm##n, epsilon##n                                                                                            \
  }

// Up to four layers in one launch, each of which may read what those before it made. A task is a span of tiles. Items take tasks
// in order, and begin one when all tasks of the layers before are done: whoever has those is running, so that nobody waits for
// an item that has not begun, however many run at once. `state` is [tasks taken, tasks done, items that left], 0 before and after.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void linear_chain(STAGE_ARGUMENTS(0), STAGE_ARGUMENTS(1),
                                                                          STAGE_ARGUMENTS(2), STAGE_ARGUMENTS(3),
                                                                          uint rows, uint count,
                                                                          volatile __global uint *state,
                                                                          __local float *prepared, uint together,
                                                                          uint step) {
  const Stage stages[4] = {STAGE(0), STAGE(1), STAGE(2), STAGE(3)};
  uint stage = 0, before = 0, ready = ~0u;  // tasks before the stage; the stage whose rows are prepared
  for (;;) {
    uint task = atomic_inc(state);
    uint tiles, tasks;
    for (; stage < count; ++stage, before += tasks) {
      tiles = (stages[stage].outputs + 15) / 16;
      tasks = (tiles + stages[stage].span - 1) / stages[stage].span;
      if (task < before + tasks) break;
    }
    if (stage == count) break;
    Stage s = stages[stage];
    uint from = (task - before) * s.span;
    if (ready != stage) {
      weights_t b = weight_block(s.weights, from, s.inputs / W_BLOCK, 0);
      for (uint line = 0; line < AHEAD; line += 64) PREFETCH(b + line);
      while (atomic_add(state + 1, 0) < before) {
      }
      mem_fence(CLK_GLOBAL_MEM_FENCE);
    }
    for (uint row = 0; row < rows; row += together) {
      uint last = min(together - 1, rows - 1 - row);
      for (uint n = 0; n <= last && (ready != stage || rows > together); ++n)
        prepare(s.x + (ulong)(row + n) * s.inputs, s.inputs, s.norm, s.gain, s.shift, s.epsilon, prepared + n * step);
      make_tiles(prepared, step, s.weights, s.bias, s.residual, s.y, row, last, s.inputs, s.outputs, s.outputs, 0,
                 s.activation, s.gate, from, min(tiles, from + s.span));
    }
    ready = stage;
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    atomic_inc(state + 1);
  }
  if (atomic_inc(state + 2) == get_num_groups(0) - 1) state[0] = state[1] = state[2] = 0;
}
