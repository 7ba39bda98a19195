// attention_weights: softmax(scores(q, k)), queries × keys in memory, to be looked at. See attention.cl.
//
// weights   [B, heads, Lq, Lk]  f32, of the query heads in `chosen`
// Strategy attention_weights_rows: one item per row, three passes over its keys; any device.
// Reference: AttentionWeights.compute. Cases: AttentionWeightsCases.

__kernel void attention_weights_rows(ARGUMENTS, __global const int *chosen, __global float *weights,
                                     ulong weights_offset, uint chosen_count) {
  int i = get_global_id(0);
  uint n = get_global_id(1);
  uint b = get_global_id(2);
  Sequence s = SEQUENCE(b);
  if (i >= s.queries) return;
  uint h = chosen[n];
  q += q_offset + b * q_b + h * q_h + (ulong)i * q_i;
  weights += weights_offset + (((ulong)b * chosen_count + n) * queries + i) * count;
  int2 run = KEYS_OF(i, s);
  float greatest = SINK(h);
  for (int j = 0; j < count; ++j) {
    float score = -INFINITY;
    if (j >= run.x && j < run.y && KEPT(b, h, i, j, s)) {
      ulong key = KEY_AT(b, h / group, j);
      score = 0.0f;
      for (uint d = 0; d < D; ++d) score = ADD_TERM(score, Q_SCALED(Q_LOAD(q, d)), KEY(key, d), d);
      score = SCORED(SCORE(score), b, h, i, j, s);
    }
    weights[j] = score;
    greatest = fmax(greatest, score);
  }
  float2 sum = (float2)(SINK(h) == -INFINITY ? 0.0f : exp(SINK(h) - SHIFT(greatest)), 0.0f);
  for (int j = 0; j < count; ++j) {
    if (weights[j] == -INFINITY) weights[j] = -0.0f;
    else weights[j] = exp(weights[j] - SHIFT(greatest));
    sum = add_kept(sum, weights[j]);
  }
  for (int j = 0; j < count; ++j)
    weights[j] = sum.x == 0.0f || as_int(weights[j]) == as_int(-0.0f) ? 0.0f : weights[j] / sum.x * WEIGHED(b, h, i, j);
}
