// Sums that norms are made of, and what a row is normed by; prepended to the programs of layer_norm and linear.
//
//   norm 0   a row as it is
//   norm 1   root mean square: x / √(mean(x²) + ε) · gain
//   norm 2   layer: (x − mean(x)) / √(mean((x − mean(x))²) + ε) · gain + shift

// a + b, and in `extra` what that has too much (Knuth's sum of two).
#define SUM_KEPT(type, sum, extra, a, b) \
  type sum = (a) + (b);                  \
  type sum##_part = sum - (a);           \
  extra += (sum - sum##_part - (a)) + (sum##_part - (b))

// A sum in one long chain: sum.x, which has sum.y too much. add_kept loses where a term is greater than the sum before it.
inline float2 add_exact(float2 sum, float x) {
  float extra = sum.y;
  SUM_KEPT(float, s, extra, sum.x, x);
  return (float2)(s, extra);
}

// The sum of 32 chains that have `extra` too much in all: x, and what x has too much in y.
inline float2 sum_kept32(float16 a, float16 b, float16 extra) {
  SUM_KEPT(float16, s16, extra, a, b);
  float8 extra8 = extra.lo + extra.hi;
  SUM_KEPT(float8, s8, extra8, s16.lo, s16.hi);
  float4 extra4 = extra8.lo + extra8.hi;
  SUM_KEPT(float4, s4, extra4, s8.lo, s8.hi);
  float2 extra2 = extra4.lo + extra4.hi;
  SUM_KEPT(float2, s2, extra2, s4.lo, s4.hi);
  float extra1 = extra2.x + extra2.y;
  SUM_KEPT(float, s1, extra1, s2.x, s2.y);
  return (float2)(s1, extra1);
}

// The sum over a group of what each item has, with what it has too much; `items`, a power of two, is the group's size.
inline float group_sum(float2 value, uint item, uint items, __local float2 *scratch) {
  scratch[item] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = items / 2; half_size > 0; half_size /= 2) {
    if (item < half_size) {
      float2 a = scratch[item], b = scratch[item + half_size];
      float extra = a.y + b.y;
      SUM_KEPT(float, sum, extra, a.x, b.x);
      scratch[item] = (float2)(sum, extra);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  float2 total = scratch[0];
  barrier(CLK_LOCAL_MEM_FENCE);
  return total.x - total.y;
}

// What a row is normed by, (mean, 1 / √(mean((x − mean)²) + ε)), where a root mean square takes 0 for the mean. One item.
inline float2 norm_of(__global const float *x, uint columns, int norm, float epsilon) {
  float2 total = 0.0f, squares = 0.0f;
  if (norm == 2)
    for (uint i = 0; i < columns; ++i) total = add_exact(total, x[i]);
  float mean = (total.x - total.y) / columns;
  for (uint i = 0; i < columns; ++i) {
    float d = x[i] - mean;
    squares = add_kept(squares, d * d);
  }
  return (float2)(mean, 1.0f / sqrt(squares.x / columns + epsilon));
}

// The same, sixteen columns at a time.
inline float2 norm_of16(__global const float *x, uint columns, int norm, float epsilon) {
  uint whole = columns & ~15u;
  float mean = 0.0f;
  if (norm == 2) {
    float16 sum = 0.0f, extra = 0.0f;
    for (uint i = 0; i < whole; i += 16) {
      SUM_KEPT(float16, next, extra, sum, vload16(0, x + i));
      sum = next;
    }
    float2 total = sum_kept32(sum, (float16)0.0f, extra);
    for (uint i = whole; i < columns; ++i) total = add_exact(total, x[i]);
    mean = (total.x - total.y) / columns;
  }
  float16 lanes = 0.0f;
  for (uint i = 0; i < whole; i += 16) {
    float16 d = vload16(0, x + i) - mean;
    lanes = fma(d, d, lanes);
  }
  float squares = sum16(lanes);
  for (uint i = whole; i < columns; ++i) squares = fma(x[i] - mean, x[i] - mean, squares);
  return (float2)(mean, 1.0f / sqrt(squares / columns + epsilon));
}
