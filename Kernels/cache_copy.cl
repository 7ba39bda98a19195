// cache_copy: block to[i] of a cache becomes what block from[i] is
//
// operand   shape            storage
// from, to  [count]          i32; a pair with a block outside the cache is passed over
// storage   [blocks, words]  one of the cache's buffers, as words of 16 bytes: a run of 16 tokens is a whole number of them
//
// Strategy cache_copy_items: one item per word; any device; one launch for keys, values and each kind of scales.
// Defines: none. Reference: CacheCopy.execute. Cases: CacheCopyCases.

__kernel void cache_copy_items(__global const int *from, ulong from_offset, __global const int *to, ulong to_offset,
                               __global uint4 *storage, uint blocks, uint words) {
  uint word = get_global_id(0);
  uint i = get_global_id(1);
  int source = from[from_offset + i];
  int target = to[to_offset + i];
  if (source < 0 || (uint)source >= blocks || target < 0 || (uint)target >= blocks) return;
  storage[(ulong)target * words + word] = storage[(ulong)source * words + word];
}
