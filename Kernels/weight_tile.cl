// weight_tile: the file's layout of a weight into the device's (weights.cl).
//
// operand   shape                                   storage
// source    [outputs, inputs], file's block order   bytes; for plain types strides choose the order, `first` the output
// tiles     [tiles, blocks] tile blocks             bytes
//
// Strategy weight_tile_items: one item makes one lane of one block; any device. Reference: none, a permutation; its truth
// is that linear and embedding read the right weights. Cases: those of linear and embedding.

// Byte-exact copies; the block's fields keep their order, lanes become the fastest index.
__kernel void weight_tile_items(__global const uchar *source, ulong first, __global uchar *tiles, ulong tiles_offset,
                                uint outputs, uint blocks, ulong output_stride, ulong input_stride) {
  uint block = get_global_id(0);
  uint row = get_global_id(1);
  if (block >= blocks) return;
  ulong tile = row / 16;
  uint lane = row % 16;
  __global uchar *b = tiles + tiles_offset + (tile * blocks + block) * W_TILE_BYTES;
  bool padding = row >= outputs;
#if !W_QUANTISED
  const uint size = W_TILE_BYTES / 16;
  __global const uchar *s = source + ((first + row) * output_stride + block * input_stride) * size;
  for (uint i = 0; i < size; ++i) b[lane * size + i] = padding ? 0 : s[i];
#else
  // The scales stand before the words in the file, or after them.
  __global const uchar *s = source + (row * (ulong)blocks + block) * (W_TILE_BYTES / 16);
  __global const uchar *scales = s + (W_SCALES_LAST ? 4 * W_WORDS : 0);
  __global const uchar *words = s + (W_SCALES_LAST ? 0 : 2 * W_SCALES);
  for (uint i = 0; i < W_SCALES; ++i)
    for (uint k = 0; k < 2; ++k) b[32 * i + 2 * lane + k] = padding ? 0 : scales[2 * i + k];
  for (uint i = 0; i < W_WORDS; ++i)
    for (uint k = 0; k < 4; ++k) b[32 * W_SCALES + 64 * i + 4 * lane + k] = padding ? 0 : words[4 * i + k];
#endif
}
