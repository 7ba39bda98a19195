// linear: y = activation(n(x) · Wᵀ + bias) + residual, or, gated, activation(n(x) · Gᵀ + b₀) ⊙ (n(x) · Uᵀ + b₁) + residual
//
// operand    shape                     storage
// x          [rows, inputs]            f32
// gain,shift [inputs]                  f32, of the norm n (norm.cl); absent where x is taken as it is
// weights    [tiles, blocks]           tiles of weights.cl, expanded in registers only; gated: G's tiles, then U's
// bias       [outputs]                 f32, may be absent
// residual   [rows, stride]            f32, may be absent, may be y
// y          [rows, stride]            f32; this part of the weight makes columns first … first + outputs
//
// Strategies, simplest first:
//   linear_items   one item per element of y; any device, any size, both phases
//   linear_group   one group per tile and row: 16 lanes × SLICES slices of the inputs, summed through local memory;
//                  decode on GPUs
//   linear_tiled   one group of 16 × 16 items makes 64 outputs × 64 rows, DEPTH inputs at a time through local memory;
//                  prefill on GPUs
//   linear_lanes   one item per span of tiles, float16 = the tile's outputs; decode on CPU devices. Layers that are asked for
//                  one after the other become one launch, linear_chain
//   linear_blocks  one item makes TILES tiles for up to ROWS rows: weights are expanded once, then each number of x,
//                  broadcast, meets them in sums that are registers; prefill on CPU devices
//   linear_clblast the library's matrix product on weights laid out plainly by linear_unpack; linear_epilogue finishes
// linear_argmax has one of its own, linear_argmax_lanes, which is linear_lanes without y.
// Norm and gate are served by the first two and by lanes: in decode, where a launch costs as much as a norm. linear_gate closes
// gates whose halves lie in different parts of the weight.
// Defines: W_TYPE (weights.cl); SLICES (default 8); TILES, 1 or 3 (default 3); ROWS, a multiple
// of 24 (default 120). Reference: Linear.compute. Cases: LinearCases.

#ifndef SLICES
#define SLICES 8
#endif
#ifndef TILES
#define TILES 3
#endif
#ifndef ROWS
#define ROWS 120
#endif

// `gate`: the tile of U that belongs to tile 0 of G; 0 where there is no gate.
#define FUSED_ARGUMENTS                                                                                           \
  __global const float *x, ulong x_offset, weights_t weights, __global const float *bias, ulong bias_offset,       \
      __global const float *residual, ulong residual_offset, __global float *y, ulong y_offset, uint rows,         \
      uint inputs, uint outputs, uint stride, uint first, int activation, int norm, __global const float *gain,    \
      ulong gain_offset, __global const float *shift, ulong shift_offset, float epsilon, uint gate

// x[i] normed by n = (mean, scale).
#define NORMED(i) (norm ? fma((x[i] - n.x) * n.y, gain[i], shift ? shift[i] : 0.0f) : x[i])

inline float finish(float sum, __global const float *bias, __global const float *residual, ulong at, uint output,
                    int activation) {
  if (bias) sum += bias[output];
  sum = activate(sum, activation);
  return residual ? sum + residual[at] : sum;
}

// `up` is what the gate `sum` lets through; `between`: outputs from the one to the other.
inline float finish_gate(float sum, float up, __global const float *bias, __global const float *residual, ulong at,
                         uint output, uint between, int activation) {
  sum = activate(bias ? sum + bias[output] : sum, activation) * (bias ? up + bias[between + output] : up);
  return residual ? sum + residual[at] : sum;
}

__kernel void linear_items(FUSED_ARGUMENTS) {
  uint output = get_global_id(0);
  ulong row = get_global_id(1);
  if (output >= outputs || row >= rows) return;
  x += x_offset + row * inputs;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  gain += gain_offset;
  if (shift) shift += shift_offset;
  float2 n = norm ? norm_of(x, inputs, norm, epsilon) : (float2)0.0f;
  uint blocks = inputs / W_BLOCK;
  float sums[2];
  for (uint half_of = 0; half_of < (gate ? 2 : 1); ++half_of) {
    sums[half_of] = 0.0f;
    for (uint block = 0; block < blocks; ++block) {
      weights_t b = weight_block(weights, output / 16 + half_of * gate, blocks, block);
      for (uint i = 0; i < W_BLOCK; ++i)
        sums[half_of] = fma(weight(b, output % 16, i), NORMED(block * W_BLOCK + i), sums[half_of]);
    }
  }
  ulong at = row * stride + first + output;
  y[y_offset + at] = gate ? finish_gate(sums[0], sums[1], bias, residual, at, output, 16 * gate, activation)
                          : finish(sums[0], bias, residual, at, output, activation);
}

#if GROUPS
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
#endif

// product [rows, 2 · width], bias and all, → y [rows, width]: the gates of each row, then what they let through.
__kernel void linear_gate(__global const float *product, __global const float *residual, ulong residual_offset,
                          __global float *y, ulong y_offset, uint rows, uint width, int activation) {
  uint i = get_global_id(0);
  ulong row = get_global_id(1);
  if (i >= width || row >= rows) return;
  product += row * 2 * width;
  ulong at = row * width + i;
  float kept = activate(product[i], activation) * product[width + i];
  y[y_offset + at] = residual ? kept + residual[residual_offset + at] : kept;
}

#define DEPTH 32    // inputs of one round: those that are expanded at once of the quantised types
#define TILED 64    // outputs and rows of one group; DEPTH · (64 + 1) · 4 B · 2 = 16.25 KiB of local memory

#if GROUPS
__kernel __attribute__((reqd_work_group_size(16, 16, 1))) void linear_tiled(
    __global const float *x, ulong x_offset, weights_t weights, __global const float *bias, ulong bias_offset,
    __global const float *residual, ulong residual_offset, __global float *y, ulong y_offset, uint rows, uint inputs,
    uint outputs, uint stride, uint first, int activation) {
  // One column of padding keeps the transposing stores of x off one bank.
  __local float w_tile[DEPTH][TILED + 1];
  __local float x_tile[DEPTH][TILED + 1];
  uint column = get_local_id(0);
  uint line = get_local_id(1);
  uint item = line * 16 + column;
  uint first_output = get_group_id(0) * TILED;
  uint first_row = get_group_id(1) * TILED;
  x += x_offset;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  uint blocks = inputs / W_BLOCK;
  float sum[4][4] = {{0.0f}};
  for (uint from = 0; from < inputs; from += DEPTH) {
    for (uint n = item; n < DEPTH * TILED; n += 256) {
      uint o = n % TILED, i = n / TILED;
      uint output = first_output + o, input = from + i;
      float w = 0.0f;
      if (output < outputs && input < inputs)
        w = weight(weight_block(weights, output / 16, blocks, input / W_BLOCK), output % 16, input % W_BLOCK);
      w_tile[i][o] = w;
      uint r = n / DEPTH, k = n % DEPTH;  // rows of x lie along the inputs
      x_tile[k][r] = first_row + r < rows && from + k < inputs ? x[(ulong)(first_row + r) * inputs + from + k] : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; i < DEPTH; ++i) {
      float w[4], v[4];
      for (uint n = 0; n < 4; ++n) {
        w[n] = w_tile[i][column + 16 * n];
        v[n] = x_tile[i][line + 16 * n];
      }
      for (uint r = 0; r < 4; ++r)
        for (uint o = 0; o < 4; ++o) sum[r][o] = fma(v[r], w[o], sum[r][o]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  for (uint r = 0; r < 4; ++r) {
    uint row = first_row + line + 16 * r;
    if (row >= rows) continue;
    for (uint o = 0; o < 4; ++o) {
      uint output = first_output + column + 16 * o;
      if (output >= outputs) continue;
      ulong at = (ulong)row * stride + first + output;
      y[y_offset + at] = finish(sum[r][o], bias, residual, at, output, activation);
    }
  }
}
#endif

// Sixteen outputs of one row: the epilogue in lanes where the tile is whole, one by one at the end.
inline void finish16(float16 sum, __global const float *bias, __global const float *residual, __global float *y,
                     ulong at, uint output, uint outputs, int activation) {
  if (output + 16 <= outputs) {
    if (bias) sum += vload16(0, bias + output);
    sum = activate16(sum, activation);
    if (residual) sum += vload16(0, residual + at);
    vstore16(sum, 0, y + at);
  } else {
    float lanes[16];
    vstore16(sum, 0, lanes);
    for (uint lane = 0; output + lane < outputs; ++lane)
      y[at + lane] = finish(lanes[lane], bias, residual, at + lane, output + lane, activation);
  }
}

// The same of gates and what they let through.
inline void finish16_gate(float16 sum, float16 up, __global const float *bias, __global const float *residual,
                          __global float *y, ulong at, uint output, uint between, int activation) {
  if (bias) {
    sum += vload16(0, bias + output);
    up += vload16(0, bias + between + output);
  }
  sum = activate16(sum, activation) * up;
  if (residual) sum += vload16(0, residual + at);
  vstore16(sum, 0, y + at);
}

// Rows whose sums grow side by side, so that each block of weights is read once for them. Blocks of quantised types keep
// the registers full with one row: four took 5.7 ms where one took 1.05 (q4_1, 576 × 49152, AVX-512).
#define TOGETHER (W_QUANTISED ? 1 : 4)

// A row of x as `product` reads it: normed, at its places (weights.cl), and then the sums of its groups.
inline void prepare(__global const float *x, uint inputs, int norm, __global const float *gain,
                    __global const float *shift, float epsilon, __local float *to) {
  float2 n = norm ? norm_of16(x, inputs, norm, epsilon) : (float2)0.0f;
  uint whole = inputs & ~15u;
  float16 part = 0.0f;
  for (uint i = 0; i < whole; i += 16) {
    float16 v = vload16(0, x + i);
    if (norm) v = fma((v - n.x) * n.y, vload16(0, gain + i), shift ? vload16(0, shift + i) : (float16)0.0f);
#if W_OFFSET
    part = W_GROUP == 32 && i % 32 ? part + v : v;
    if (W_GROUP == 16 || i % 32) to[inputs + i / W_GROUP] = sum16(part);
#endif
#if W_QUANTISED
    v *= i % 32 ? PLACES(1) : PLACES(0);
#endif
    vstore16(v, 0, to + i);
  }
  for (uint i = whole; i < inputs; ++i) to[i] = NORMED(i);
}

// Weights are asked for so many bytes before they are used: 100 ns of memory's latency at a core's 20 GB/s are 2 KiB, and a
// processor's own prefetch ends with a page.
#define AHEAD 4096
// A tile's products with `count` rows that lie `step` apart, each summed as it is alone; rows past `last` repeat that. `count`
// is a constant at each call, so that the sums are registers.
inline void lanes(__local const float *x, uint step, weights_t b, uint inputs, uint last, const uint count,
                  float16 *sums) {
  float16 s[TOGETHER];
  uint at[TOGETHER];
#pragma unroll
  for (uint n = 0; n < count; ++n) {
    s[n] = 0.0f;
    at[n] = min(n, last) * step;
  }
  for (uint i = 0; i < inputs; i += W_BLOCK, b += W_TILE_BYTES) {
#pragma unroll
    for (uint line = 0; line < W_TILE_BYTES; line += 64) PREFETCH(b + AHEAD + line);
#pragma unroll
    for (uint n = 0; n < count; ++n) s[n] = product(b, x + at[n] + i, x + at[n] + inputs + i / W_GROUP, s[n]);
  }
#pragma unroll
  for (uint n = 0; n < count; ++n) sums[n] = s[n];
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

// The registers' share of a product: TILES tiles × ABREAST rows, beside them TILES vectors of weights and one of x. Of AVX-512's
// 32 registers 3 · 8 + 4; where a float16 is two of 16 (AVX2) or four of 32 (NEON), 1 · 6 sums take 12 or 24.
#define ABREAST (TILES == 3 ? 8 : 6)
// Inputs of one round, in which TILES · REACH · 64 B of weights and TILES · ROWS · 64 B of sums meet: 24 + 22 KiB of a first
// cache; half of it was 10 % slower. Weights that are read where they lie come from a second cache as fast: fewer rounds, 3 %.
#define REACH (W_IS_FLOAT ? 384 : 128)
#define ROUND_BYTES (REACH * W_TILE_BYTES / W_BLOCK)
// Lines of a tile's next round that are asked for beside each ABREAST rows.
#define LINES ((ROUND_BYTES / 64 * ABREAST + ROWS - 1) / ROWS)
// Input i of the round, tile t: a plain type of 32 bits is read where it lies.
#if W_IS_FLOAT
#define BLOCK_WEIGHT(t, i) vload16(i, (__global const float *)b[t])
#else
#define BLOCK_WEIGHT(t, i) w[(t) * REACH + (i)]
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void linear_blocks(
    __global const float *x, ulong x_offset, weights_t weights, __global const float *bias, ulong bias_offset,
    __global const float *residual, ulong residual_offset, __global float *y, ulong y_offset, uint rows, uint inputs,
    uint outputs, uint stride, uint first, int activation, uint height) {
  uint tile = get_group_id(0) * TILES;
  uint last_tile = (outputs - 1) / 16;
  uint first_row = get_group_id(1) * height;
  uint count = min(height, rows - first_row);
  x += x_offset + (ulong)first_row * inputs;
  y += y_offset;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  uint blocks = inputs / W_BLOCK;

  float16 sums[ROWS * TILES];
  for (uint n = 0; n < ROWS * TILES; ++n) sums[n] = 0.0f;
#if !W_IS_FLOAT
  float16 w[TILES * REACH];
#endif
  for (uint from = 0; from < inputs; from += REACH) {
    uint width = min((uint)REACH, inputs - from);
    weights_t b[TILES];  // tiles past the end repeat the last
#pragma unroll
    for (uint t = 0; t < TILES; ++t) b[t] = weight_block(weights, min(tile + t, last_tile), blocks, from / W_BLOCK);
#if !W_IS_FLOAT
    for (uint t = 0; t < TILES; ++t) {
      for (uint i = 0; i < width; i += W_STEP)
        expand(weight_block(weights, min(tile + t, last_tile), blocks, (from + i) / W_BLOCK), (from + i) % W_BLOCK,
               w + t * REACH + i);
    }
#endif
    for (uint row = 0; row < count; row += ABREAST) {
#pragma unroll
      for (uint t = 0; t < TILES; ++t) {
#pragma unroll
        for (uint n = 0; n < LINES; ++n)
          PREFETCH(b[t] + ROUND_BYTES + (row / ABREAST * LINES + n) * 64);
      }
      __global const float *xs[ABREAST];  // rows past the end repeat the last
      float16 s[ABREAST * TILES];
#pragma unroll
      for (uint r = 0; r < ABREAST; ++r) xs[r] = x + (ulong)min(row + r, count - 1) * inputs + from;
#pragma unroll
      for (uint n = 0; n < ABREAST * TILES; ++n) s[n] = sums[row * TILES + n];
      for (uint i = 0; i < width; ++i) {
        float16 wi[TILES];
#pragma unroll
        for (uint t = 0; t < TILES; ++t) wi[t] = BLOCK_WEIGHT(t, i);
#pragma unroll
        for (uint r = 0; r < ABREAST; ++r) {
          float16 v = xs[r][i];
#pragma unroll
          for (uint t = 0; t < TILES; ++t) s[r * TILES + t] = fma(wi[t], v, s[r * TILES + t]);
        }
      }
#pragma unroll
      for (uint n = 0; n < ABREAST * TILES; ++n) sums[row * TILES + n] = s[n];
    }
  }
  for (uint row = 0; row < count; ++row) {
    ulong at = (ulong)(first_row + row) * stride + first;
    for (uint t = 0; t < TILES && tile + t <= last_tile; ++t)
      finish16(sums[row * TILES + t], bias, residual, y, at + (tile + t) * 16, (tile + t) * 16, outputs, activation);
  }
}

// weights → plain [outputs, inputs] f32 for a library's matrix product.
__kernel void linear_unpack(weights_t weights, __global float *plain, uint inputs, uint outputs) {
  uint input = get_global_id(0);
  uint output = get_global_id(1);
  if (input >= inputs || output >= outputs) return;
  weights_t b = weight_block(weights, output / 16, inputs / W_BLOCK, input / W_BLOCK);
  plain[(ulong)output * inputs + input] = weight(b, output % 16, input % W_BLOCK);
}

// product [rows, outputs] → y, with bias, activation and residual.
__kernel void linear_epilogue(__global const float *product, __global const float *bias, ulong bias_offset,
                              __global const float *residual, ulong residual_offset, __global float *y,
                              ulong y_offset, uint rows, uint outputs, uint stride, uint first, int activation) {
  uint output = get_global_id(0);
  ulong row = get_global_id(1);
  if (output >= outputs || row >= rows) return;
  if (bias) bias += bias_offset + first;
  if (residual) residual += residual_offset;
  ulong at = row * stride + first + output;
  y[y_offset + at] = finish(product[row * outputs + output], bias, residual, at, output, activation);
}
