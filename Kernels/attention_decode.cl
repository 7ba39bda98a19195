// What attention_split and attention_lanes share: few rows, the keys in splits. See attention.cl for operands and terms.
//
// Splits stand at multiples of SPLIT keys, so that a row's bits do not depend on its neighbours; where a window leaves out the
// first ones, split 0 is the first with a key in the run. Whoever makes the last split of a row joins them all by their
// log-sum-exps.
// partial   [B, Hq, Lq, splits and nodes, Dv + 2]  f32; a split's sums, then its maximum and its denominator
// made      u32; how many splits, or nodes, are made; 0 before and after
// Defines: SPLIT; APPENDS 0|1, new keys and values are written on the way (cache.cl); PACKS 0|1, a group takes all rows of a
// sequence and all query heads that read one key head.

#ifndef SPLIT
#define SPLIT 128
#endif
#ifndef PACKS
#define PACKS 0
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

// A sequence's new keys and values of one key head and one split, in parts: a split's keys are written and read by one group, so
// that nobody else's are waited for.
#if APPENDS
#define SPLIT_APPENDS , APPEND_ARGUMENTS
#define FIRST_NEW(s, from) max(0, (from) + (s).queries - (s).keys)
#define END_NEW(s, from) max(FIRST_NEW(s, from), min((s).queries, (from) + SPLIT + (s).queries - (s).keys))
#define APPENDED_PARTS(s, from) ((END_NEW(s, from) - FIRST_NEW(s, from)) * APPEND_PARTS(D, DV))
#define APPEND_PART(n, s, from)                                                                                          \
  append_part((n) % APPEND_PARTS(D, DV), key_head, token + FIRST_NEW(s, from) + (n) / APPEND_PARTS(D, DV), keys, values, \
              key_scales, value_scales, heads / group, D, DV, APPEND_PASSED)
#else
#define SPLIT_APPENDS
#endif

#if PACKS
// Row n of a sequence's rows for one key head.
#define ROW(n) ((int)((n) / group))
#define HEAD(n) (key_head * group + (n) % group)

// True for the last of `expected` groups that come here, which then sees what all of them have written.
INLINE bool is_last(volatile __global uint *counter, uint expected, uint lane, __local uint *answer) {
  DEVICE_FENCE();
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  if (lane == 0) {
    *answer = atomic_inc(counter) == expected - 1;
    if (*answer) atomic_xchg(counter, 0);
  }
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  DEVICE_FENCE();
  return *answer;
}

// Joins the splits of a sequence's rows for one key head, each of which lies in `partial`, once all of them are made.
//
// Sixteen splits from a multiple of sixteen on are a node, which is joined by the last of them, and nodes are by the last node:
// of 2048 splits no group reads more than 128. What one group reads of another has been written once, so that no cache between
// them holds it as it was. made is [B, Hkv, 1 + nodes]. Loops turn as often for every item: behind the returns of whole groups,
// PoCL 3.1 let items past the last row into a loop from `lane` on, which wrote beyond y (attention_matrix_split, November 2026).
INLINE void join_splits(uint b, uint key_head, uint split, uint base, uint parts, Sequence s, uint lane, const uint items,
                        __local uint *answer, ARGUMENTS SPLIT_ARGUMENTS) {
  uint rows = s.queries * group;
  uint node = (base + split) / NODE - base / NODE;
  uint nodes = (base + parts - 1) / NODE - base / NODE + 1;
  uint at = node == 0 ? 0 : (base / NODE + node) * NODE - base;  // the node's first split
  uint members = min((base / NODE + node + 1) * NODE - base, parts) - at;
  made += (b * (heads / group) + key_head) * (1 + NODES(splits));
  if (!is_last(made + 1 + node, members, lane, answer)) return;
  if (nodes > 1) {
    for (uint first = 0; first < rows * DV; first += items) {
      uint n = first + lane;
      if (n >= rows * DV) continue;
      uint h = HEAD(n / DV), d = n % DV;
      int i = ROW(n / DV);
      float sum, greatest;
      float denominator = join(partial + PARTIAL(b, h, i, at), members, d, 1, &sum, &greatest);
      __global float *out = partial + PARTIAL(b, h, i, splits + node);
      out[d] = sum;
      if (d > 0) continue;
      out[DV] = greatest;
      out[DV + 1] = denominator;
    }
    if (!is_last(made, nodes, lane, answer)) return;
    at = splits;
    members = nodes;
  }
  for (uint first = 0; first < rows * DV; first += items) {
    uint n = first + lane;
    if (n >= rows * DV) continue;
    uint h = HEAD(n / DV), d = n % DV;
    ulong i = ROW(n / DV);
    float sum, greatest, factor;
    float denominator = join(partial + PARTIAL(b, h, i, at), members, d, 1, &sum, &greatest);
    denominator = finish(&greatest, denominator, SINK(h),
                         d == 0 && lse ? lse + lse_offset + b * lse_b + h * lse_h + (s.q_row + i) * lse_i : 0, &factor);
    X_STORE(y, y_offset + b * y_b + h * y_h + (s.q_row + i) * y_i + d,
            denominator == 0.0f ? 0.0f : sum * factor / denominator);
  }
}
#endif
