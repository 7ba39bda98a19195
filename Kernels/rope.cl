// rope: (a, b) → (a·cos − b·sin, a·sin + b·cos) for each pair of a head at its token's position
//
// operand     shape                    storage
// x, y        [tokens, heads, size]    X_TYPE; strides of tokens and heads are arguments; y may be x
// positions   [tokens]                 i32
// cos, sin    [length, rotary / 2]     f32
//
// Pair p is elements (p, p + rotary/2), or (2p, 2p + 1) where `adjacent`; elements past `rotary` are copied.
// Strategy rope_items: one item per pair, and per leftover element; any device.
// Defines: X_TYPE (prelude.cl). Reference: Rope.compute. Cases: RopeCases.

__kernel void rope_items(__global const X_T *x, ulong x_offset, ulong x_token, ulong x_head,
                         __global const int *positions, ulong positions_offset, __global const float *cosines,
                         ulong cosines_offset, __global const float *sines, ulong sines_offset, __global X_T *y,
                         ulong y_offset, ulong y_token, ulong y_head, uint pairs, uint length, uint leftover,
                         int adjacent) {
  uint p = get_global_id(0);
  uint head = get_global_id(1);
  uint token = get_global_id(2);
  x += x_offset + token * x_token + head * x_head;
  y += y_offset + token * y_token + head * y_head;
  if (p < pairs) {
    uint first = adjacent ? 2 * p : p;
    uint second = adjacent ? 2 * p + 1 : p + pairs;
    uint position = positions[positions_offset + token];
    bool inside = position < length;
    ulong entry = (ulong)(inside ? position : 0) * pairs + p;
    float c = inside ? cosines[cosines_offset + entry] : NAN;
    float s = inside ? sines[sines_offset + entry] : NAN;
    float a = X_LOAD(x, first);
    float b = X_LOAD(x, second);
    X_STORE(y, first, a * c - b * s);
    X_STORE(y, second, a * s + b * c);
  } else if (p < pairs + leftover) {
    uint i = p + pairs;
    X_STORE(y, i, X_LOAD(x, i));
  }
}
