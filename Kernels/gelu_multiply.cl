// gelu_multiply: y = gate·sigmoid(2·√(2/π)·(gate + 0.044715·gate³)) · up, the gate of a GEGLU layer
//
// operand   shape              storage
// gate_up   [rows, 2 · width]  X_TYPE: gates first, then what they scale
// y         [rows, width]      X_TYPE
//
// Strategies, simplest first:
//   gelu_multiply_items    one item per element; any device
//   gelu_multiply_vectors  one item per sixteen elements of a row; for CPU devices
// Defines: X_TYPE (prelude.cl). Reference: GELUMultiply.compute. Cases: GELUMultiplyCases.

__kernel void gelu_multiply_items(__global const X_T *gate_up, ulong gate_up_offset, __global X_T *y, ulong y_offset,
                                  uint rows, uint width) {
  uint i = get_global_id(0);
  ulong row = get_global_id(1);
  if (i >= width || row >= rows) return;
  ulong gate = gate_up_offset + row * 2 * width + i;
  X_STORE(y, y_offset + row * width + i, gelu_tanh(X_LOAD(gate_up, gate)) * X_LOAD(gate_up, gate + width));
}

__kernel void gelu_multiply_vectors(__global const X_T *gate_up, ulong gate_up_offset, __global X_T *y,
                                    ulong y_offset, uint rows, uint width) {
  uint i = get_global_id(0) * 16;
  ulong row = get_global_id(1);
  __global const X_T *gate = gate_up + gate_up_offset + row * 2 * width;
  __global const X_T *up = gate + width;
  y += y_offset + row * width;
  if (i + 16 <= width) {
    X_STORE16(y, i, gelu_tanh16(X_LOAD16(gate, i)) * X_LOAD16(up, i));
  } else {
    for (; i < width; ++i) X_STORE(y, i, gelu_tanh(X_LOAD(gate, i)) * X_LOAD(up, i));
  }
}
