// attention_lanes: one item takes SPLIT keys of one row and key head for HEADS query heads at once, sixteen keys a vector; CPU
// devices. See attention.cl for operands and terms, attention_decode.cl for splits.
//
// made      [B, Hq / HEADS · Lq]
//
// Where APPENDS, the item of the split that a new key falls into writes it and its value first, and queries turn as they are read
// (cache.cl): of one row a sequence, with one item for all query heads that read a key head, so that nobody else reads what is new.
// Defines: HEADS, divides the group; APPENDS 0|1.

#ifndef HEADS
#define HEADS 1
#endif

#if DV % 16 == 0 && (PAGED || D % 16 == 0)
// Sixteen keys of one head are as long as a page of memory, where a processor's own prefetch ends.
// Keys from the one in use to the one asked for: 8 KiB of a head's keys, in 16 to 64 of them.
#define AHEAD clamp(512 / (D * (int)sizeof(K_T)), 1, 4) * 16
#define VECTORS (DV / 16)
// Vectors of a value held per head: HEADS · AT_ONCE ≤ 16 of the 32 registers.
#define AT_ONCE (VECTORS % 8 == 0 && HEADS <= 2 ? 8 : VECTORS % 4 == 0 ? 4 : VECTORS % 2 == 0 ? 2 : 1)

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attention_lanes(ARGUMENTS SPLIT_ARGUMENTS SPLIT_APPENDS) {
  // Rows that read the same keys run side by side, while these are in a cache.
  int i = get_group_id(0) % queries;
  uint first_head = get_group_id(0) / queries * HEADS;
  uint key_head = first_head / group;
  uint split = get_group_id(1);
  uint b = get_group_id(2);
  Sequence s = SEQUENCE(b);
  if (i >= s.queries) return;
  int2 run = KEYS_OF(i, s);
  int from = (run.x / SPLIT + (int)split) * SPLIT;
  int skipped = max(run.x - from, 0);
  int width = clamp(run.y - from, 0, SPLIT);
  q += q_offset + b * q_b + (s.q_row + (ulong)i) * q_i;
  y += y_offset + b * y_b + (s.q_row + (ulong)i) * y_i;
  if (lse) lse += lse_offset + b * lse_b + (s.q_row + (ulong)i) * lse_i;

  float row[HEADS][D];
#if APPENDS
  uint token = query_starts ? s.q_row : b * queries;
  for (uint n = 0; n < APPENDED_PARTS(s, from); ++n) APPEND_PART(n, s, from);
  for (uint n = 0; n < HEADS; ++n)
    for (uint d = 0; d < D; ++d)
      row[n][d] = Q_SCALED(turned_element(q + (first_head + n) * q_h, d, cosines + cosines_offset, sines + sines_offset,
                                          POSITION_OF(token), length, pairs, adjacent));
#else
#pragma unroll
  for (uint n = 0; n < HEADS; ++n)
    for (uint d = 0; d < D; ++d) row[n][d] = Q_SCALED(Q_LOAD(q, (first_head + n) * q_h + d));
#endif
  float scores[HEADS][SPLIT] __attribute__((aligned(64)));
  float16 lane_max[HEADS];
#pragma unroll
  for (uint n = 0; n < HEADS; ++n) lane_max[n] = -INFINITY;
  int16 lane_index = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  int begin = skipped / 16 * 16;
  for (int at = begin; at < width; at += 16) {
#if PAGED
    ulong k = KEY_AT(b, key_head, from + at);
    ulong ahead = KEY_AT(b, key_head, min(from + at + AHEAD, run.y - 1) / 16 * 16);
    float16 even[HEADS], odd[HEADS];
#pragma unroll
    for (uint n = 0; n < HEADS; ++n) even[n] = odd[n] = 0.0f;
    for (uint block = 0; block < D; block += ALIKE) {
      float16 key_scales16 = KEY_SCALES(k, block);
#if QUANTISED
      PREFETCH(key_scales + ahead / ALIKE + block / ALIKE * 16);
#endif
      for (uint d = block; d + 1 < block + ALIKE; d += 2) {
        float16 k0 = KEY16(k, d, key_scales16), k1 = KEY16(k, d + 1, key_scales16);
        PREFETCH(keys + ahead + d * 16);
        PREFETCH(keys + ahead + d * 16 + 16);
#pragma unroll
        for (uint n = 0; n < HEADS; ++n) {
          even[n] = ADD_TERM(even[n], (float16)row[n][d], k0, d);
          odd[n] = ADD_TERM(odd[n], (float16)row[n][d + 1], k1, d + 1);
        }
      }
    }
#if D % 2
#pragma unroll
    for (uint n = 0; n < HEADS; ++n)
      even[n] = ADD_TERM(even[n], (float16)row[n][D - 1], KEY16(k, D - 1, 1.0f), D - 1);
#endif
#pragma unroll
    for (uint n = 0; n < HEADS; ++n) vstore16(SCORE(even[n] + odd[n]), 0, scores[n] + at);
#else
    for (int key = at; key < at + 16; ++key)
#pragma unroll
      for (uint n = 0; n < HEADS; ++n) {
        float score = 0.0f;
        if (key >= skipped && key < width) {
          ulong k = KEY_AT(b, key_head, from + key);
#if KIND == 0
          float16 sum = 0.0f;
          for (uint d = 0; d < D; d += 16) sum = fma(vload16(0, row[n] + d), JOIN(load16_, K_TYPE)(keys, k + d), sum);
          score = sum16(sum);
#else
          for (uint d = 0; d < D; ++d) score = ADD_TERM(score, row[n][d], KEY(k, d), d);
#endif
        }
        scores[n][key] = SCORE(score);
      }
#endif
#pragma unroll
    for (uint n = 0; n < HEADS; ++n) {
#if HAS_KEEP || HAS_SCORE
      for (int key = max(at, skipped); key < min(at + 16, width); ++key) {
        uint h = first_head + n;
        scores[n][key] =
            KEPT(b, h, i, from + key, s) ? SCORED(scores[n][key], b, h, i, from + key, s) : -INFINITY;
      }
#endif
      float16 x = vload16(0, scores[n] + at);
      if (at < skipped || at + 16 > width) {
        int16 key = at + lane_index;
        x = select(x, (float16)-INFINITY, key < skipped | key >= width);
        vstore16(x, 0, scores[n] + at);
      }
      lane_max[n] = fmax(lane_max[n], x);
    }
  }
  float greatest[HEADS], denominator[HEADS], rescale[HEADS];
#pragma unroll
  for (uint n = 0; n < HEADS; ++n) {
    uint h = first_head + n;
    greatest[n] = max16(lane_max[n]);
    rescale[n] = 1.0f;
    float16 total = 0.0f;
    for (int at = begin; at < width; at += 16) {
      float16 x = vload16(0, scores[n] + at);
      float16 e = select(exp16(x - SHIFT(greatest[n])), (float16)-0.0f, x == -INFINITY);
      total += e;
      vstore16(e, 0, scores[n] + at);
    }
    denominator[n] = sum16(total);
    if (splits == 1)
      denominator[n] = finish(&greatest[n], denominator[n], SINK(h), lse ? lse + h * lse_h : 0, &rescale[n]);
#if HAS_WEIGHT
    for (int key = skipped; key < width; ++key) scores[n][key] *= WEIGHED(b, h, i, from + key);
#endif
  }
  for (uint vector = 0; vector < VECTORS; vector += AT_ONCE) {
    float16 sums[HEADS][AT_ONCE];
#pragma unroll
    for (uint n = 0; n < HEADS; ++n)
#pragma unroll
      for (uint c = 0; c < AT_ONCE; ++c) sums[n][c] = 0.0f;
    for (int at = begin; at < width; at += 16) {
      ulong run_values = VALUE_AT(b, key_head, from + at);
#if PAGED
      ulong ahead = VALUE_AT(b, key_head, min(from + at + AHEAD, run.y - 1));
#endif
#if QUANTISED
      PREFETCH(value_scales + ahead / ALIKE + vector * 16 / ALIKE * 16);
      float value_scales16[(AT_ONCE + 1) / 2][16];
      for (uint c = 0; c < AT_ONCE; c += 2) vstore16(VALUE_SCALES(run_values, (vector + c) * 16), 0, value_scales16[c / 2]);
#endif
      for (int key = max(at, skipped); key < min(at + 16, width); ++key) {
#if HAS_KEEP || HAS_SCORE
        bool takes_part = false;
#pragma unroll
        for (uint n = 0; n < HEADS; ++n)
          takes_part = takes_part || as_int(scores[n][key]) >= 0 || isnan(scores[n][key]);
        if (!takes_part) continue;
#endif
        ulong v = run_values + (key - at) * VALUE_STEP;
#pragma unroll
        for (uint c = 0; c < AT_ONCE; ++c) {
          float16 value = VALUE16(v, (vector + c) * 16, value_scales16[c / 2][key - at]);
#if PAGED
          PREFETCH(values + ahead + (key - at) * VALUE_STEP + (vector + c) * 16);
#endif
#pragma unroll
          for (uint n = 0; n < HEADS; ++n) {
            float16 sum = fma((float16)(scores[n][key]), value, sums[n][c]);
#if HAS_KEEP || HAS_SCORE
            if (as_int(scores[n][key]) < 0) sum = sums[n][c];
#endif
            sums[n][c] = sum;
          }
        }
      }
    }
#pragma unroll
    for (uint n = 0; n < HEADS; ++n) {
      uint h = first_head + n;
#pragma unroll
      for (uint c = 0; c < AT_ONCE; ++c) {
        uint d = (vector + c) * 16;
        if (splits == 1)  // divided as at the end, so that bits do not depend on the number of splits
          X_STORE16(y, h * y_h + d,
                    denominator[n] == 0.0f ? (float16)0.0f : sums[n][c] * rescale[n] / denominator[n]);
        else
          vstore16(sums[n][c], 0, partial + PARTIAL(b, h, i, split) + d);
      }
    }
  }
  for (uint n = 0; n < HEADS && splits > 1; ++n) {
    __global float *out = partial + PARTIAL(b, first_head + n, i, split);
    out[DV] = greatest[n];
    out[DV + 1] = denominator[n];
  }
  if (splits == 1) return;
  made += b * get_num_groups(0) + get_group_id(0);
  mem_fence(CLK_GLOBAL_MEM_FENCE);
  if (atomic_inc(made) < splits - 1) return;
  *made = 0;
  mem_fence(CLK_GLOBAL_MEM_FENCE);
  for (uint n = 0; n < HEADS; ++n) {
    uint h = first_head + n;
    float sums[DV], m, factor;
    float divisor = join(partial + PARTIAL(b, h, i, 0), splits, 0, DV, sums, &m);
    divisor = finish(&m, divisor, SINK(h), lse ? lse + h * lse_h : 0, &factor);
    for (uint d = 0; d < DV; ++d) X_STORE(y, h * y_h + d, divisor == 0.0f ? 0.0f : sums[d] * factor / divisor);
  }
}
#endif
