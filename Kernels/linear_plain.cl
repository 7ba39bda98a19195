// linear_unpack, linear_epilogue: before and after a library's matrix product, which takes weights as plain f32 and adds nothing.
// See linear.cl.

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
