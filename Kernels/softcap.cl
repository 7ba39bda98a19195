// softcap: y = cap · tanh(x / cap)
//
// operand   shape     storage
// x, y      [count]   X_TYPE
//
// Strategies, simplest first:
//   softcap_items    one item per element; any device
//   softcap_vectors  one item per sixteen elements; for CPU devices
// Defines: X_TYPE (prelude.cl). Reference: Softcap.compute. Cases: SoftcapCases.

__kernel void softcap_items(__global const X_T *x, ulong x_offset, __global X_T *y, ulong y_offset, ulong count,
                            float cap) {
  ulong i = get_global_id(0);
  if (i >= count) return;
  X_STORE(y, y_offset + i, cap * tanh(X_LOAD(x, x_offset + i) / cap));
}

__kernel void softcap_vectors(__global const X_T *x, ulong x_offset, __global X_T *y, ulong y_offset, ulong count,
                              float cap) {
  ulong i = get_global_id(0) * 16;
  x += x_offset;
  y += y_offset;
  if (i + 16 <= count) {
    X_STORE16(y, i, cap * tanh16(X_LOAD16(x, i) / cap));
  } else {
    // The last few go through a vector too: an element's bits do not depend on where it lies.
    float v[16] = {0.0f};
    for (ulong j = i; j < count; ++j) v[j - i] = X_LOAD(x, j);
    vstore16(cap * tanh16(vload16(0, v) / cap), 0, v);
    for (ulong j = i; j < count; ++j) X_STORE(y, j, v[j - i]);
  }
}
