// linear_items: one item per element of y; any device, any size, both phases. See linear.cl.
//
// linear_gate closes gates whose halves lie in different parts of the weight, for every strategy that serves gates.

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
