// Terms of linear: y = activation(n(x) · Wᵀ + bias) + residual, or, gated,
// activation(n(x) · Gᵀ + b₀) ⊙ (n(x) · Uᵀ + b₁) + residual; prepended to the programs that compute it.
//
// operand    shape                     storage
// x          [rows, inputs]            f32
// gain,shift [inputs]                  f32, of the norm n (norm.cl); absent where x is taken as it is
// weights    [tiles, blocks]           tiles of weights.cl, expanded in registers only; gated: G's tiles, then U's
// bias       [outputs]                 f32, may be absent
// residual   [rows, stride]            f32, may be absent, may be y
// y          [rows, stride]            f32; this part of the weight makes columns first … first + outputs
//
// A file a strategy, simplest first:
//   linear_items   any device, any size, both phases
//   linear_group   decode on GPUs
//   linear_tiled   prefill on GPUs
//   linear_lanes   decode on CPU devices (linear_decode.cl: what that shares with linear_argmax)
//   linear_blocks  prefill on CPU devices
//   linear_matrix  prefill by matrix units
//   linear_plain   around a library's matrix product
// Norm and gate are served by items, group and lanes: in decode, where a launch costs as much as a norm.
// Defines: W_TYPE (weights.cl). Reference: Linear.compute. Cases: LinearCases.

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

// Sixteen outputs of one row: the epilogue in lanes where the tile is whole, one by one at the end.
inline void finish16(float16 sum, __global const float *bias, __global const float *residual, __global float *y,
                     ulong at, uint output, uint outputs, int activation) {
  if (output + 16 <= outputs) {
    if (bias) sum += vload16(0, bias + output);
    if (activation) sum = activate16(sum, activation);
    if (residual) sum += vload16(0, residual + at);
    store16_f32(y, at, sum);
  } else {
    float lanes[16];
    vstore16(sum, 0, lanes);
    for (uint lane = 0; output + lane < outputs; ++lane)
      y[at + lane] = finish(lanes[lane], bias, residual, at + lane, output + lane, activation);
  }
}
