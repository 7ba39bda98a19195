// attention_rows: one item per row; any device, any size, no local memory, every option. See attention.cl.
//
// attention_project turns q or k into what a score kind compares: W·q (general), Wq·q and Wk·k (additive), q + u.
// Defines: CHOICE 0 soft, 1 hard, 2 sampled (SEED_LOW, SEED_HIGH).

#ifndef CHOICE
#define CHOICE 0
#endif

#if CHOICE == 2
inline uint mixed(uint x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

// Gumbel noise: the key with the greatest score + noise is a draw by the softmax (Gumbel 1954).
inline float gumbel(int h, int p, int j) {
  uint x = mixed(mixed(SEED_LOW) ^ SEED_HIGH);
  x = mixed(x + 0x9e3779b9u * (uint)(h + 1));
  x = mixed(x + 0x85ebca6bu * (uint)(p + 1));
  x = mixed(x + 0xc2b2ae35u * (uint)(j + 1));
  return -log(-log(((float)(x >> 8) + 0.5f) * 0x1p-24f));
}
#endif

__kernel void attention_rows(ARGUMENTS) {
  int i = get_global_id(0);
  uint h = get_global_id(1);
  uint b = get_global_id(2);
  Sequence s = SEQUENCE(b);
  if (i >= s.queries) return;
  q += q_offset + b * q_b + h * q_h + (s.q_row + (ulong)i) * q_i;
  y += y_offset + b * y_b + h * y_h + (s.q_row + (ulong)i) * y_i;
  int2 run = KEYS_OF(i, s);
  float sums[DV];
  for (uint d = 0; d < DV; ++d) sums[d] = 0.0f;
  float greatest = SINK(h);
  float denominator = greatest == -INFINITY ? 0.0f : 1.0f;
  int best = -1;
  for (int j = run.x; j < run.y; ++j) {
    if (!KEPT(b, h, i, j, s)) continue;
    ulong key = KEY_AT(b, h / group, j);
    float score = 0.0f;
    for (uint d = 0; d < D; ++d) score = ADD_TERM(score, Q_SCALED(Q_LOAD(q, d)), KEY(key, d), d);
    score = SCORED(SCORE(score), b, h, i, j, s);
    if (score == -INFINITY) continue;
#if CHOICE
#if CHOICE == 2
    score += gumbel(h, i + s.keys - s.queries, j);
#endif
    if (best < 0 || score > greatest) {
      greatest = score;
      best = j;
    }
#else
    float next = fmax(greatest, score);
    float old = exp(greatest - SHIFT(next));
    float p = exp(score - SHIFT(next));
    greatest = next;
    denominator = fma(denominator, old, p);
    p *= WEIGHED(b, h, i, j);
    ulong value = VALUE_AT(b, h / group, j);
#if HAS_VALUE
    ulong row = t_pv_at + h * t_pv_h + (ulong)(clamp(j - i - s.keys + s.queries, -t_pv_r, t_pv_r) + t_pv_r) * DV;
    for (uint d = 0; d < DV; ++d) sums[d] = fma(p, VALUE(value, d) + t_pv[row + d], sums[d] * old);
#else
    for (uint d = 0; d < DV; ++d) sums[d] = fma(p, VALUE(value, d), sums[d] * old);
#endif
#endif
  }
#if CHOICE
  for (uint d = 0; d < DV; ++d) X_STORE(y, d, best < 0 ? 0.0f : VALUE(VALUE_AT(b, h / group, best), d));
#else
  for (uint d = 0; d < DV; ++d) X_STORE(y, d, denominator == 0.0f ? 0.0f : sums[d] / denominator);
  if (lse)
    lse[lse_offset + b * lse_b + h * lse_h + (s.q_row + (ulong)i) * lse_i] = LSE(greatest, denominator);
#endif
}

// y[b, h, i, e] = bias[h, e] + Σ_d x[b, h, i, d] · matrix[h, d, e], f32, for score kinds that first turn q or k into
// something else; without a matrix D = E and y = bias + x. One item per element.
__kernel void attention_project(__global const X_T *x, ulong x_offset, ulong x_b, ulong x_h, ulong x_i,
                                __global const float *matrix, ulong matrix_offset, ulong matrix_h,
                                __global const float *bias, ulong bias_offset, __global float *y, uint heads,
                                uint rows, uint inputs, uint outputs) {
  uint e = get_global_id(0);
  uint i = get_global_id(1);
  uint h = get_global_id(2) % heads;
  uint b = get_global_id(2) / heads;
  x += x_offset + b * x_b + h * x_h + i * x_i;
  float sum = bias ? bias[bias_offset + h * outputs + e] : 0.0f;
  if (matrix) {
    matrix += matrix_offset + h * matrix_h;
    for (uint d = 0; d < inputs; ++d) sum = fma(X_LOAD(x, d), matrix[(ulong)d * outputs + e], sum);
  } else {
    sum += X_LOAD(x, e);
  }
  y[(get_global_id(2) * (ulong)rows + i) * outputs + e] = sum;
}
