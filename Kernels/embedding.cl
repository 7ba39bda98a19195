// embedding: y[t] = scale · table[ids[t]], or y[t] += that
//
// operand   shape              storage
// ids       [tokens]           i32
// table     [rows, columns]    tiles of weights.cl; this part holds rows first_row … first_row + rows
// y         [tokens, columns]  f32
//
// Strategy embedding_items: one item per element; any device. A table may come in parts: an id outside this part is
// left to the others, and the first part writes NaN for an id outside all of them.
// Defines: W_TYPE (weights.cl). Reference: Embedding.compute. Cases: EmbeddingCases.

__kernel void embedding_items(__global const int *ids, ulong ids_offset, weights_t table, __global float *y,
                              ulong y_offset, uint tokens, uint columns, uint first_row, uint rows, uint all_rows,
                              float scale, int accumulate) {
  uint column = get_global_id(0);
  uint token = get_global_id(1);
  if (column >= columns || token >= tokens) return;
  int id = ids[ids_offset + token];
  __global float *out = y + y_offset + (ulong)token * columns + column;
  if (id < 0 || id >= (int)all_rows) {
    if (first_row == 0) *out = NAN;
    return;
  }
  uint row = (uint)id - first_row;  // wraps past `rows` for an earlier part's id
  if (row >= rows) return;
  weights_t b = weight_block(table, row / 16, columns / W_BLOCK, column / W_BLOCK);
  float value = scale * weight(b, row % 16, column % W_BLOCK);
  *out = accumulate ? *out + value : value;
}
