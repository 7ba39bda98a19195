// gather: y[i] = x[rows[i]]
//
// operand   shape             storage
// x         [n, columns]      X_TYPE; the stride of its rows is an argument
// rows      [count]           i32; outside 0 … n − 1: a row of NaN
// y         [count, columns]  X_TYPE
//
// Strategy gather_items: one item per element; any device.
// Defines: X_TYPE (prelude.cl). Reference: Gather.compute. Cases: GatherCases.

__kernel void gather_items(__global const X_T *x, ulong x_offset, ulong x_row, __global const int *rows,
                           ulong rows_offset, __global X_T *y, ulong y_offset, uint n, uint columns) {
  uint column = get_global_id(0);
  uint i = get_global_id(1);
  int row = rows[rows_offset + i];
  ulong place = y_offset + (ulong)i * columns + column;
  if (row < 0 || (uint)row >= n)
    X_STORE(y, place, NAN);
  else
    X_STORE(y, place, X_LOAD(x, x_offset + (ulong)row * x_row + column));
}
