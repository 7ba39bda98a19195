// gelu: y = ½·x·erfc(−x/√2), or x·sigmoid(2·√(2/π)·(x + 0.044715·x³))
//
// operand   shape     storage
// x, y      [count]   X_TYPE
//
// Strategies, simplest first:
//   gelu_items    one item per element; any device
//   gelu_vectors  one item per sixteen elements; for CPU devices
// Defines: X_TYPE (prelude.cl). Reference: GELU.compute. Cases: GELUCases.

__kernel void gelu_items(__global const X_T *x, ulong x_offset, __global X_T *y, ulong y_offset, ulong count,
                         int by_tanh) {
  ulong i = get_global_id(0);
  if (i >= count) return;
  float v = X_LOAD(x, x_offset + i);
  X_STORE(y, y_offset + i, by_tanh ? gelu_tanh(v) : gelu_exact(v));
}

__kernel void gelu_vectors(__global const X_T *x, ulong x_offset, __global X_T *y, ulong y_offset, ulong count,
                           int by_tanh) {
  ulong i = get_global_id(0) * 16;
  x += x_offset;
  y += y_offset;
  if (i + 16 <= count) {
    float16 v = X_LOAD16(x, i);
    X_STORE16(y, i, by_tanh ? gelu_tanh16(v) : gelu_exact16(v));
  } else {
    // The last few go through a vector too: an element's bits do not depend on where it lies.
    float v[16] = {0.0f};
    for (ulong j = i; j < count; ++j) v[j - i] = X_LOAD(x, j);
    vstore16(by_tanh ? gelu_tanh16(vload16(0, v)) : gelu_exact16(vload16(0, v)), 0, v);
    for (ulong j = i; j < count; ++j) X_STORE(y, j, v[j - i]);
  }
}
