// cache_append: new keys (rotated where a rope table is given) and values into the blocks of a cache; with them the queries of
// the same tokens, rotated where they lie. cache.cl has the operands of the cache, and
//
// queries       [tokens, query heads, D]         X_TYPE; strides of tokens and heads are arguments; may be absent: query heads = 0
//
// Strategies, on any device:
//   cache_append_items      one item per key pair or value element, and per pair of a query; plain storage
//   cache_append_quantised  one item per 32 elements of a key or value, which share a scale: their greatest over 127
// Defines: those of cache.cl. Reference: CacheAppend.compute. Cases: CacheAppendCases.

#define ARGUMENTS                                                                                                 \
  __global C_T *cached_keys, __global C_T *cached_values, __global half *key_scales, __global half *value_scales, \
      uint heads, uint key_size, uint value_size, APPEND_ARGUMENTS, __global X_T *queries, ulong queries_offset,  \
      ulong queries_token, ulong queries_head

// Turns pairs `from` to `end` of a query, which comes after the heads of the keys.
#define TURN_QUERY(from, end)                                                                                  \
  do {                                                                                                         \
    queries += queries_offset + token * queries_token + (head - heads) * queries_head;                          \
    for (uint pair = (from); pair < min((uint)(end), pairs); ++pair) {                                          \
      uint2 at = rope_pair(pair, pairs, adjacent);                                                              \
      float2 turned = rope_turn(X_LOAD(queries, at.x), X_LOAD(queries, at.y), cosines + cosines_offset,         \
                                sines + sines_offset, positions[positions_offset + token], length, pairs, pair); \
      X_STORE(queries, at.x, turned.x);                                                                         \
      X_STORE(queries, at.y, turned.y);                                                                         \
    }                                                                                                           \
  } while (0)

#if QUANTISED
__kernel void cache_append_quantised(ARGUMENTS) {
  uint block = get_global_id(0);
  uint head = get_global_id(1);
  uint token = get_global_id(2);
  if (head >= heads) {
    TURN_QUERY(block * 32, block * 32 + 32);
    return;
  }
  append_part(block, head, token, cached_keys, cached_values, key_scales, value_scales, heads, key_size, value_size,
              APPEND_PASSED);
}
#else
__kernel void cache_append_items(ARGUMENTS) {
  uint i = get_global_id(0);
  uint head = get_global_id(1);
  uint token = get_global_id(2);
  if (head >= heads) {
    TURN_QUERY(i, i + 1);
    return;
  }
  append_part(i, head, token, cached_keys, cached_values, key_scales, value_scales, heads, key_size, value_size,
              APPEND_PASSED);
}
#endif
