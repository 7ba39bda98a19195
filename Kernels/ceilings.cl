// ceilings: what the device can do at most, measured by the two simplest loops: y = x, and a = a·b + c.
//
// operand   shape      storage
// x, y      [count]    f32, read and written as VECTORs
//
// Both give each item `rounds` steps of work:
//   ceilings_copy          item g copies vectors g·first + r·step; contiguous parts on CPU devices, neighbours side by side
//                          on GPUs
//   ceilings_multiply_add  12 independent chains of multiply-adds, more than any device's latency; an item's result is
//                          stored so that no compiler drops the loop
// Defines: VECTOR (default float16; float4 suits GPUs: a lane's share of a wide load, and few registers), the same for
// both. They compute nothing that a model needs, so they have no reference and no cases.

#ifndef VECTOR
#define VECTOR float16
#endif
#define CHAINS 12

__kernel void ceilings_copy(__global const VECTOR *x, __global VECTOR *y, ulong first, ulong step, ulong rounds) {
  ulong i = get_global_id(0) * first;
  for (ulong r = 0; r < rounds; ++r, i += step) y[i] = x[i];
}

__kernel void ceilings_multiply_add(__global VECTOR *y, float b, float c, ulong rounds) {
  VECTOR a[CHAINS];
#pragma unroll
  for (int k = 0; k < CHAINS; ++k) a[k] = (VECTOR)(get_global_id(0) + k);
  for (ulong r = 0; r < rounds; ++r) {
#pragma unroll
    for (int k = 0; k < CHAINS; ++k) a[k] = fma(a[k], (VECTOR)b, (VECTOR)c);
  }
  VECTOR sum = a[0];
#pragma unroll
  for (int k = 1; k < CHAINS; ++k) sum += a[k];
  y[get_global_id(0)] = sum;
}
