// cache_append: new keys (rotated where a rope table is given) and values into the blocks of a cache
//
// operand       shape                            storage
// keys          [tokens, heads, D]               X_TYPE; strides of tokens and heads are arguments
// values        [tokens, heads, Dv]              X_TYPE; likewise
// slots         [tokens]                         i32: block · 16 + place within the block; outside the cache: not written
// positions     [tokens]                         i32, read for the rotation
// cos, sin      [length, rotary / 2]             f32; pairs = 0: no rotation
// cached_keys   [blocks, heads, D, 16]           C_TYPE: transposed within a block, so that sixteen keys are one vector
// cached_values [blocks, heads, 16, Dv]          C_TYPE
//
// Strategy cache_append_items: one item per key pair or value element; any device.
// Defines: X_TYPE (prelude.cl); C_TYPE, the cache's storage (default f32). Reference: CacheAppend.compute.
// Cases: CacheAppendCases.

#ifndef C_TYPE
#define C_TYPE f32
#endif
#define C_T JOIN(C_TYPE, _t)
#define C_STORE(p, i, x) JOIN(store_, C_TYPE)(p, i, x)

#define BLOCK 16

__kernel void cache_append_items(__global const X_T *keys, ulong keys_offset, ulong keys_token, ulong keys_head,
                                 __global const X_T *values, ulong values_offset, ulong values_token,
                                 ulong values_head, __global const int *slots, ulong slots_offset,
                                 __global const int *positions, ulong positions_offset, __global const float *cosines,
                                 ulong cosines_offset, __global const float *sines, ulong sines_offset,
                                 __global C_T *cached_keys, __global C_T *cached_values, uint heads, uint key_size,
                                 uint value_size, uint pairs, uint length, int adjacent, uint blocks) {
  uint i = get_global_id(0);
  uint head = get_global_id(1);
  uint token = get_global_id(2);
  int slot = slots[slots_offset + token];
  if (slot < 0 || (uint)slot >= blocks * BLOCK) return;
  ulong block = (ulong)(slot / BLOCK) * heads + head;
  uint place = slot % BLOCK;
  if (i < value_size) {
    values += values_offset + token * values_token + head * values_head;
    C_STORE(cached_values, (block * BLOCK + place) * value_size + i, X_LOAD(values, i));
  }
  keys += keys_offset + token * keys_token + head * keys_head;
  cached_keys += block * key_size * BLOCK + place;
  if (i < pairs) {
    uint2 at = rope_pair(i, pairs, adjacent);
    float2 turned = rope_turn(X_LOAD(keys, at.x), X_LOAD(keys, at.y), cosines + cosines_offset, sines + sines_offset,
                              positions[positions_offset + token], length, pairs, i);
    C_STORE(cached_keys, at.x * BLOCK, turned.x);
    C_STORE(cached_keys, at.y * BLOCK, turned.y);
  } else if (i + pairs < key_size && i >= pairs) {
    C_STORE(cached_keys, (i + pairs) * BLOCK, X_LOAD(keys, i + pairs));
  }
}
