// How new keys, turned where a rope table is given, and new values come into the blocks of a cache; prepended to the programs of
// cache_append and attention_split.
//
// operand       shape                            storage
// new_keys      [tokens, heads, D]               X_TYPE; strides of tokens and heads are arguments
// new_values    [tokens, heads, Dv]              X_TYPE; likewise
// slots         [tokens]                         i32: block · block length + place within; outside the cache: not written
// positions     [tokens]                         i32, read for the rotation
// cos, sin      [length, rotary / 2]             f32; pairs = 0: no rotation
// cached_keys   [runs, heads, D, 16]             C_TYPE: transposed within a run of 16 slots, so that sixteen keys are one vector
// cached_values [runs, heads, 16, Dv]            C_TYPE
// key_scales, value_scales  [runs, heads, D / 32 or Dv / 32, 16]  f16, q8_0 alone: an element is scale · int8
// Defines: X_TYPE (prelude.cl); C_TYPE, the cache's storage (default K_TYPE, or f32); QUANTISED 0|1, that is q8_0.

#ifndef QUANTISED
#define QUANTISED 0
#endif
#ifndef C_TYPE
#ifdef K_TYPE
#define C_TYPE K_TYPE
#else
#define C_TYPE f32
#endif
#endif
#define C_T JOIN(C_TYPE, _t)
#define C_STORE(p, i, x) JOIN(store_, C_TYPE)(p, i, x)

#define CACHE_RUN 16

#define APPEND_ARGUMENTS                                                                                         \
  __global const X_T *new_keys, ulong new_keys_offset, ulong new_keys_token, ulong new_keys_head,                 \
      __global const X_T *new_values, ulong new_values_offset, ulong new_values_token, ulong new_values_head,     \
      __global const int *slots, ulong slots_offset, __global const int *positions, ulong positions_offset,       \
      __global const float *cosines, ulong cosines_offset, __global const float *sines, ulong sines_offset,       \
      uint pairs, uint length, int adjacent, uint cache_slots
#define APPEND_PASSED                                                                                            \
  new_keys, new_keys_offset, new_keys_token, new_keys_head, new_values, new_values_offset, new_values_token,      \
      new_values_head, slots, slots_offset, positions, positions_offset, cosines, cosines_offset, sines,          \
      sines_offset, pairs, length, adjacent, cache_slots

// Where token `token` stands, for tables that begin at their offsets.
#define POSITION_OF(token) (pairs ? positions[positions_offset + (token)] : 0)

// Element e of a head, turned where it is one of a pair.
inline float turned_element(__global const X_T *x, uint e, __global const float *cosines, __global const float *sines,
                            int position, uint length, uint pairs, int adjacent) {
  if (e >= 2 * pairs) return X_LOAD(x, e);
  uint pair = adjacent ? e / 2 : e % pairs;
  uint2 at = rope_pair(pair, pairs, adjacent);
  float2 turned = rope_turn(X_LOAD(x, at.x), X_LOAD(x, at.y), cosines, sines, position, length, pairs, pair);
  return e == at.x ? turned.x : turned.y;
}

// A token's key and value of one head are written in parts, each by one item: 32 elements, which share a scale, their greatest
// over 127; or, of plain storage, a pair or an element of the key and an element of the value.
#if QUANTISED
#define APPEND_PARTS(key_size, value_size) (((key_size) + (value_size)) / 32)
#else
#define APPEND_PARTS(key_size, value_size) max((uint)(value_size), (uint)(key_size) - pairs)
#endif

INLINE void append_part(uint part, uint head, uint token, __global C_T *cached_keys, __global C_T *cached_values,
                        __global half *key_scales, __global half *value_scales, uint heads, uint key_size, uint value_size,
                        APPEND_ARGUMENTS) {
  int slot = slots[slots_offset + token];
  if (slot < 0 || (uint)slot >= cache_slots) return;
  ulong run = (ulong)(slot / CACHE_RUN) * heads + head;
  uint place = slot % CACHE_RUN;
  new_keys += new_keys_offset + token * new_keys_token + head * new_keys_head;
  new_values += new_values_offset + token * new_values_token + head * new_values_head;
  cosines += cosines_offset;
  sines += sines_offset;
#if QUANTISED
  bool is_key = part < key_size / 32;
  if (!is_key) part -= key_size / 32;
  float x[32];
  float greatest = 0.0f, check = 0.0f;
  for (uint n = 0; n < 32; ++n) {
    uint e = part * 32 + n;
    x[n] = is_key ? turned_element(new_keys, e, cosines, sines, POSITION_OF(token), length, pairs, adjacent)
                  : X_LOAD(new_values, e);
    greatest = fmax(greatest, fabs(x[n]));
    check += x[n] * 0.0f;
  }
  // The scale is stored as f16, the elements are divided by the one before rounding, as in GGUF. What is not finite makes
  // its block NaN: a scale of NaN times anything.
  float inverse = greatest == 0.0f ? 0.0f : 127.0f / greatest;
  vstore_half_rte(isnan(check) ? NAN : greatest / 127.0f,
                  (run * ((is_key ? key_size : value_size) / 32) + part) * CACHE_RUN + place,
                  is_key ? key_scales : value_scales);
  for (uint n = 0; n < 32; ++n) {
    char quant = isnan(check) ? 1 : convert_char_sat(round(x[n] * inverse));
    if (is_key)
      cached_keys[(run * key_size + part * 32 + n) * CACHE_RUN + place] = quant;
    else
      cached_values[(run * CACHE_RUN + place) * value_size + part * 32 + n] = quant;
  }
#else
  if (part < value_size)
    C_STORE(cached_values, (run * CACHE_RUN + place) * value_size + part, X_LOAD(new_values, part));
  cached_keys += run * key_size * CACHE_RUN + place;
  if (part < pairs) {
    uint2 at = rope_pair(part, pairs, adjacent);
    float2 turned = rope_turn(X_LOAD(new_keys, at.x), X_LOAD(new_keys, at.y), cosines, sines, POSITION_OF(token), length,
                              pairs, part);
    C_STORE(cached_keys, at.x * CACHE_RUN, turned.x);
    C_STORE(cached_keys, at.y * CACHE_RUN, turned.y);
  } else if (part + pairs < key_size) {
    C_STORE(cached_keys, (part + pairs) * CACHE_RUN, X_LOAD(new_keys, part + pairs));
  }
#endif
}
