// What attention_split and attention_lanes share: few rows, the keys in splits. See attention.cl for operands and terms.
//
// Splits stand at multiples of SPLIT keys, so that a row's bits do not depend on its neighbours; where a window leaves out the
// first ones, split 0 is the first with a key in the run. Whoever makes the last split of a row joins them all by their
// log-sum-exps.
// partial   [B, Hq, Lq, splits and nodes, Dv + 2]  f32; a split's sums, then its maximum and its denominator
// made      u32; how many splits, or nodes, are made; 0 before and after
// Defines: SPLIT.

#ifndef SPLIT
#define SPLIT 128
#endif
#define NODE 16
#define NODES(splits) ((splits) / NODE + 2)  // in any run of so many splits
#define SPLIT_ARGUMENTS , __global float *partial, uint splits, volatile __global uint *made
#define PARTIAL(b, h, i, split) \
  (((((ulong)(b)*heads + (h)) * queries + (i)) * (splits + NODES(splits)) + (split)) * (DV + 2))

// A row's numbers after the last split: the sink joins, the log-sum-exp goes out; the result is what divides the sums.
inline float finish(float *greatest, float denominator, float sink, __global float *lse, float *rescale) {
  float next = fmax(*greatest, sink);
  *rescale = exp(*greatest - SHIFT(next));
  denominator = denominator * *rescale + (sink == -INFINITY ? 0.0f : exp(sink - SHIFT(next)));
  *greatest = next;
  if (lse) *lse = LSE(next, denominator);
  return denominator;
}

// Of `splits` splits that lie at `in`: m = max mₛ, and of `count` elements from `first` on Σ e^(mₛ − m)·sumsₛ. Returns
// Σ e^(mₛ − m)·denominatorₛ. A split without keys, or one alone, changes no bit.
INLINE float join(__global const float *in, uint splits, uint first, const uint count, float *sums, float *greatest) {
  float m = -INFINITY, denominator = 0.0f;
  for (uint split = 0; split < splits; ++split) m = fmax(m, in[split * (DV + 2) + DV]);
  for (uint e = 0; e < count; ++e) sums[e] = 0.0f;
  for (uint split = 0; split < splits; ++split, in += DV + 2) {
    float weight = exp(in[DV] - SHIFT(m));
    for (uint e = 0; e < count; ++e) sums[e] = fma(weight, in[first + e], sums[e]);
    denominator = fma(weight, in[DV + 1], denominator);
  }
  *greatest = m;
  return denominator;
}
