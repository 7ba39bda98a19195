// What decode on CPU devices shares: rows made ready, and a tile's products with them, float16 = the tile's outputs. See
// linear.cl for the operands; prepended to linear_lanes.cl and linear_argmax.cl.

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
