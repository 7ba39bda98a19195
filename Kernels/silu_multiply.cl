// silu_multiply: y = gate / (1 + e^−gate) · up, the gate of a SwiGLU layer
//
// operand   shape              storage
// gate_up   [rows, 2 · width]  X_TYPE: gates first, then what they scale
// y         [rows, width]      X_TYPE
//
// Strategies, simplest first:
//   silu_multiply_items    one item per element; any device
//   silu_multiply_vectors  one item per sixteen elements of a row; for CPU devices
// Defines: X_TYPE (prelude.cl). Reference: SiLUMultiply.compute. Cases: SiLUMultiplyCases.

__kernel void silu_multiply_items(__global const X_T *gate_up, ulong gate_up_offset, __global X_T *y, ulong y_offset,
                                  uint rows, uint width) {
  uint i = get_global_id(0);
  ulong row = get_global_id(1);
  if (i >= width || row >= rows) return;
  ulong gate = gate_up_offset + row * 2 * width + i;
  X_STORE(y, y_offset + row * width + i, silu(X_LOAD(gate_up, gate)) * X_LOAD(gate_up, gate + width));
}

__kernel void silu_multiply_vectors(__global const X_T *gate_up, ulong gate_up_offset, __global X_T *y,
                                    ulong y_offset, uint rows, uint width) {
  uint i = get_global_id(0) * 16;
  ulong row = get_global_id(1);
  __global const X_T *gate = gate_up + gate_up_offset + row * 2 * width;
  __global const X_T *up = gate + width;
  y += y_offset + row * width;
  if (i + 16 <= width) {
    X_STORE16(y, i, silu16(X_LOAD16(gate, i)) * X_LOAD16(up, i));
  } else {
    for (; i < width; ++i) X_STORE(y, i, silu(X_LOAD(gate, i)) * X_LOAD(up, i));
  }
}
