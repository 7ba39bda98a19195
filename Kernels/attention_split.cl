// attention_split: a group of SPLIT items takes SPLIT keys of one key head, an item a key, for all rows of a sequence and all
// query heads that read them, ROWS of these at a time; GPUs. See attention.cl for operands and terms, attention_decode.cl for
// splits.
//
// Where APPENDS, the sequence's new keys and values join the cache first, and its queries turn as they are read (cache.cl).
// Defines: ROWS; APPENDS 0|1.

#ifndef ROWS
#define ROWS 1
#endif
// Parts of a split whose values are summed side by side, each by WIDTH items: as many as heads leave items for, of sixteen keys
// or more.
#define SLICES (SPLIT / DV < 2 ? 1 : SPLIT / DV > SPLIT / 16 ? SPLIT / 16 : SPLIT / DV)
#define WIDTH (SPLIT / SLICES)

// The greatest, or the sum, of each row of tile [SPLIT][ROWS], in its first SPLIT-th. PoCL 3.1 makes wrong code of a loop whose
// body begins with a barrier.
INLINE void fold(__local float *tile, uint lane, const bool adds) {
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = SPLIT / 2; half_size > 0; half_size /= 2) {
    for (uint n = lane; n < half_size * ROWS; n += SPLIT) {
      float other = tile[n + half_size * ROWS];
      tile[n] = adds ? tile[n] + other : fmax(tile[n], other);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
}

__kernel __attribute__((reqd_work_group_size(SPLIT, 1, 1))) void attention_split(ARGUMENTS SPLIT_ARGUMENTS
                                                                                     SPLIT_APPENDS) {
  __local float row[D * ROWS];       // [d][row]
  __local float tile[SPLIT * ROWS];  // [key][row]: scores, then weights, then the slices' sums
  __local float most[ROWS], total[ROWS], rescale[ROWS];
  __local uint answer;
  uint lane = get_local_id(0);
  uint key_head = get_group_id(0);
  uint split = get_group_id(1);
  uint b = get_group_id(2);
  Sequence s = SEQUENCE(b);
  if (s.queries <= 0) return;
  // A later row's run neither begins nor ends before an earlier one's.
  int begin = KEYS_OF(0, s).x, end = KEYS_OF(s.queries - 1, s).y;
  uint base = begin / SPLIT;
  uint parts = min(splits, (uint)max(1, (end + SPLIT - 1) / SPLIT - (int)base));
  if (split >= parts) return;
  int from = (int)(base + split) * SPLIT;
  int j = from + (int)lane;
  uint rows = s.queries * group;

  uint token = query_starts ? s.q_row : b * queries;
#if APPENDS
  for (uint n = lane; n < APPENDED_PARTS(s, from); n += SPLIT) APPEND_PART(n, s, from);
  barrier(CLK_GLOBAL_MEM_FENCE);
#endif

  for (uint first = 0; first < rows; first += ROWS) {
    for (uint n = lane; n < D * ROWS; n += SPLIT) {
      uint r = first + n / D, d = n % D;
      float x = 0.0f;
      if (r < rows) {
        __global const Q_T *query = q + q_offset + b * q_b + HEAD(r) * q_h + (s.q_row + (ulong)ROW(r)) * q_i;
#if APPENDS
        x = Q_SCALED(turned_element(query, d, cosines + cosines_offset, sines + sines_offset, POSITION_OF(token + ROW(r)),
                                    length, pairs, adjacent));
#else
        x = Q_SCALED(Q_LOAD(query, d));
#endif
      }
      row[d * ROWS + n / D] = x;
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    float scores[ROWS];
    uint seen = 0;  // bit r: row first + r sees this item's key
    for (uint r = 0; r < ROWS; ++r) {
      scores[r] = 0.0f;
      if (first + r >= rows) continue;
      int i = ROW(first + r);
      int2 run = KEYS_OF(i, s);
      if (j >= run.x && j < run.y && KEPT(b, HEAD(first + r), i, j, s)) seen |= 1u << r;
    }
    if (seen) {
      ulong key = KEY_AT(b, key_head, j);
#pragma unroll 8
      for (uint d = 0; d < D; ++d) {
        float k = KEY(key, d);
#pragma unroll
        for (uint r = 0; r < ROWS; ++r) scores[r] = ADD_TERM(scores[r], row[d * ROWS + r], k, d);
      }
    }
#pragma unroll
    for (uint r = 0; r < ROWS; ++r) {
      scores[r] =
          seen >> r & 1 ? SCORED(SCORE(scores[r]), b, HEAD(first + r), ROW(first + r), j, s) : -INFINITY;
      tile[lane * ROWS + r] = scores[r];
    }
    fold(tile, lane, false);
#pragma unroll
    for (uint r = 0; r < ROWS; ++r)
      scores[r] = scores[r] == -INFINITY ? -0.0f : exp(scores[r] - SHIFT(tile[r]));
    if (lane < ROWS) most[lane] = tile[lane];
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (uint r = 0; r < ROWS; ++r) tile[lane * ROWS + r] = scores[r];
    fold(tile, lane, true);
    if (lane < ROWS && first + lane < rows) {
      uint h = HEAD(first + lane);
      int i = ROW(first + lane);
      total[lane] = tile[lane];
      rescale[lane] = 1.0f;
      if (parts == 1) {
        __global float *out = lse ? lse + lse_offset + b * lse_b + h * lse_h + (s.q_row + (ulong)i) * lse_i : 0;
        float greatest = most[lane], factor;
        total[lane] = finish(&greatest, tile[lane], SINK(h), out, &factor);
        rescale[lane] = factor;
      } else {
        __global float *out = partial + PARTIAL(b, h, i, split);
        out[DV] = most[lane];
        out[DV + 1] = tile[lane];
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (uint r = 0; r < ROWS; ++r) {
#if HAS_WEIGHT
      if (seen >> r & 1) scores[r] *= WEIGHED(b, HEAD(first + r), ROW(first + r), j);
#endif
      tile[lane * ROWS + r] = scores[r];
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    float sums[ROWS];
    uint slice = lane / WIDTH;
    for (uint d = lane % WIDTH; d < DV && slice < SLICES; d += WIDTH) {
#pragma unroll
      for (uint r = 0; r < ROWS; ++r) sums[r] = 0.0f;
      for (int at = 16 * (int)slice; at < min(end - from, SPLIT); at += 16 * SLICES) {
        ulong run_values = VALUE_AT(b, key_head, from + at);
        for (int key = max(at, begin - from); key < min(at + 16, end - from); ++key) {
          float value = VALUE(run_values + (key - at) * VALUE_STEP, d);
          __local const float *weights = tile + key * ROWS;
          if (isfinite(value)) {
#pragma unroll
            for (uint r = 0; r < ROWS; ++r) sums[r] = fma(weights[r], value, sums[r]);
          } else {
            // What takes no part weighs −0.
            for (uint r = 0; r < ROWS; ++r)
              if (as_int(weights[r]) >= 0 || isnan(weights[r])) sums[r] = fma(weights[r], value, sums[r]);
          }
        }
      }
#if SLICES == 1
#pragma unroll
      for (uint r = 0; r < ROWS; ++r) {
        if (first + r >= rows) continue;
        uint h = HEAD(first + r);
        ulong i = ROW(first + r);
        if (parts == 1)
          X_STORE(y, y_offset + b * y_b + h * y_h + (s.q_row + i) * y_i + d,
                  total[r] == 0.0f ? 0.0f : sums[r] * rescale[r] / total[r]);
        else
          partial[PARTIAL(b, h, i, split) + d] = sums[r];
      }
#endif
    }
#if SLICES > 1
    barrier(CLK_LOCAL_MEM_FENCE);
    if (slice < SLICES && lane % WIDTH < DV)
      for (uint r = 0; r < ROWS; ++r) tile[(slice * DV + lane % WIDTH) * ROWS + r] = sums[r];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint n = lane; n < DV * min((uint)ROWS, rows - first); n += SPLIT) {
      uint r = n / DV, d = n % DV;
      uint h = HEAD(first + r);
      ulong i = ROW(first + r);
      float sum = 0.0f;
      for (uint other = 0; other < SLICES; ++other) sum += tile[(other * DV + d) * ROWS + r];
      if (parts == 1)
        X_STORE(y, y_offset + b * y_b + h * y_h + (s.q_row + i) * y_i + d,
                total[r] == 0.0f ? 0.0f : sum * rescale[r] / total[r]);
      else
        partial[PARTIAL(b, h, i, split) + d] = sum;
    }
#endif
    barrier(CLK_LOCAL_MEM_FENCE);  // these rows are done with
  }
  if (parts == 1) return;

  join_splits(b, key_head, split, base, parts, s, lane, SPLIT, &answer, ARGUMENTS_PASSED, partial, splits, made);
}
