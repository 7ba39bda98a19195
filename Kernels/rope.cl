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
    uint2 at = rope_pair(p, pairs, adjacent);
    float2 turned = rope_turn(X_LOAD(x, at.x), X_LOAD(x, at.y), cosines + cosines_offset, sines + sines_offset,
                              positions[positions_offset + token], length, pairs, p);
    X_STORE(y, at.x, turned.x);
    X_STORE(y, at.y, turned.y);
  } else if (p < pairs + leftover) {
    uint i = p + pairs;
    X_STORE(y, i, X_LOAD(x, i));
  }
}
