// cache_append: new keys (rotated where a rope table is given) and values into the blocks of a cache; with them the queries of
// the same tokens, rotated where they lie
//
// operand       shape                            storage
// keys          [tokens, heads, D]               X_TYPE; strides of tokens and heads are arguments
// values        [tokens, heads, Dv]              X_TYPE; likewise
// queries       [tokens, query heads, D]         X_TYPE; likewise; may be absent: query heads = 0
// slots         [tokens]                         i32: block · block length + place within; outside the cache: not written
// positions     [tokens]                         i32, read for the rotation
// cos, sin      [length, rotary / 2]             f32; pairs = 0: no rotation
// cached_keys   [runs, heads, D, 16]             C_TYPE: transposed within a run of 16 slots, so that sixteen keys are one vector
// cached_values [runs, heads, 16, Dv]            C_TYPE
// key_scales, value_scales  [runs, heads, D / 32 or Dv / 32, 16]  f16, q8_0 alone: an element is scale · int8
//
// Strategies, on any device:
//   cache_append_items      one item per key pair or value element, and per pair of a query; plain storage
//   cache_append_quantised  one item per 32 elements of a key or value, which share a scale: their greatest over 127
// Defines: X_TYPE (prelude.cl); C_TYPE, the cache's storage (default f32). Reference: CacheAppend.compute.
// Cases: CacheAppendCases.

#ifndef C_TYPE
#define C_TYPE f32
#endif
typedef char q8_0_t;
#define store_q8_0(p, i, x) ((p)[i] = convert_char_sat(x))
#define C_T JOIN(C_TYPE, _t)
#define C_STORE(p, i, x) JOIN(store_, C_TYPE)(p, i, x)

#define RUN 16

#define ARGUMENTS                                                                                             \
  __global const X_T *keys, ulong keys_offset, ulong keys_token, ulong keys_head,                             \
  __global const X_T *values, ulong values_offset, ulong values_token, ulong values_head,                     \
  __global const int *slots, ulong slots_offset, __global const int *positions, ulong positions_offset,       \
  __global const float *cosines, ulong cosines_offset, __global const float *sines, ulong sines_offset,       \
  __global C_T *cached_keys, __global C_T *cached_values, uint heads, uint key_size, uint value_size,         \
  uint pairs, uint length, int adjacent, uint cache_slots,                                                    \
  __global X_T *queries, ulong queries_offset, ulong queries_token, ulong queries_head

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

__kernel void cache_append_items(ARGUMENTS) {
  uint i = get_global_id(0);
  uint head = get_global_id(1);
  uint token = get_global_id(2);
  if (head >= heads) {
    TURN_QUERY(i, i + 1);
    return;
  }
  int slot = slots[slots_offset + token];
  if (slot < 0 || (uint)slot >= cache_slots) return;
  ulong run = (ulong)(slot / RUN) * heads + head;
  uint place = slot % RUN;
  if (i < value_size) {
    values += values_offset + token * values_token + head * values_head;
    C_STORE(cached_values, (run * RUN + place) * value_size + i, X_LOAD(values, i));
  }
  keys += keys_offset + token * keys_token + head * keys_head;
  cached_keys += run * key_size * RUN + place;
  if (i < pairs) {
    uint2 at = rope_pair(i, pairs, adjacent);
    float2 turned = rope_turn(X_LOAD(keys, at.x), X_LOAD(keys, at.y), cosines + cosines_offset, sines + sines_offset,
                              positions[positions_offset + token], length, pairs, i);
    C_STORE(cached_keys, at.x * RUN, turned.x);
    C_STORE(cached_keys, at.y * RUN, turned.y);
  } else if (i + pairs < key_size && i >= pairs) {
    C_STORE(cached_keys, (i + pairs) * RUN, X_LOAD(keys, i + pairs));
  }
}

#ifdef QUANTISED
// Element e of a key, turned where it is one of a pair.
inline float turned_element(__global const X_T *key, uint e, __global const float *cosines, __global const float *sines,
                            int position, uint length, uint pairs, int adjacent) {
  if (e >= 2 * pairs) return X_LOAD(key, e);
  uint pair = adjacent ? e / 2 : e % pairs;
  uint2 at = rope_pair(pair, pairs, adjacent);
  float2 turned =
      rope_turn(X_LOAD(key, at.x), X_LOAD(key, at.y), cosines, sines, position, length, pairs, pair);
  return e == at.x ? turned.x : turned.y;
}

__kernel void cache_append_quantised(ARGUMENTS, __global half *key_scales, __global half *value_scales) {
  uint block = get_global_id(0);
  uint head = get_global_id(1);
  uint token = get_global_id(2);
  if (head >= heads) {
    TURN_QUERY(block * 32, block * 32 + 32);
    return;
  }
  int slot = slots[slots_offset + token];
  if (slot < 0 || (uint)slot >= cache_slots) return;
  ulong run = (ulong)(slot / RUN) * heads + head;
  uint place = slot % RUN;
  bool is_key = block < key_size / 32;
  if (!is_key) block -= key_size / 32;
  keys += keys_offset + token * keys_token + head * keys_head;
  values += values_offset + token * values_token + head * values_head;
  float x[32];
  float greatest = 0.0f, check = 0.0f;
  for (uint n = 0; n < 32; ++n) {
    uint e = block * 32 + n;
    x[n] = is_key ? turned_element(keys, e, cosines + cosines_offset, sines + sines_offset,
                                   pairs ? positions[positions_offset + token] : 0, length, pairs, adjacent)
                  : X_LOAD(values, e);
    greatest = fmax(greatest, fabs(x[n]));
    check += x[n] * 0.0f;
  }
  // The scale is stored as f16, the elements are divided by the one before rounding, as in GGUF. What is not finite makes
  // its block NaN: a scale of NaN times anything.
  float inverse = greatest == 0.0f ? 0.0f : 127.0f / greatest;
  vstore_half_rte(isnan(check) ? NAN : greatest / 127.0f, (run * ((is_key ? key_size : value_size) / 32) + block) * RUN + place,
                  is_key ? key_scales : value_scales);
  for (uint n = 0; n < 32; ++n) {
    char quant = isnan(check) ? 1 : convert_char_sat(round(x[n] * inverse));
    if (is_key)
      cached_keys[(run * key_size + block * 32 + n) * RUN + place] = quant;
    else
      cached_values[(run * RUN + place) * value_size + block * 32 + n] = quant;
  }
}
#endif
