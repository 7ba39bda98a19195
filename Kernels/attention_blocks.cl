// attention_blocks: one item makes 16 rows, one lane each, so that no step of the softmax crosses lanes; q is turned once, keys and
// values are broadcast from a private tile of TILE keys; prefill on CPU devices. See attention.cl for operands and terms.
//
// A tile is whole where every row sees every key: no element is tested then.
// Defines: TILE, keys of a tile: 16, 32 or 64.

// Keys and values of TILE · WIDE ≤ 2048 floats each, 8 KiB, leave room in a first cache of 32 KiB for q, the sums (64 B · D
// each) and the scores. Sums held in registers at once while values are added:
#define CHUNK (DV % 16 == 0 ? 16 : DV % 8 == 0 ? 8 : 1)
#if PAGED
#define TILE_KEY(key, d) ((d)*16 + (key))  // within a run of 16 keys
#else
#define TILE_KEY(key, d) ((key)*D + (d))
#endif
// A square turned: vectors i and i + 8 are interleaved four times. One element at a time, turning took 41 % of the whole with
// heads of 32 and as many keys (AVX-512).
inline void turn16(float16 *v) {
#pragma unroll
  for (uint round = 0; round < 4; ++round) {
    float16 next[16];
#pragma unroll
    for (uint n = 0; n < 8; ++n) {
      float16 a = v[n], b = v[n + 8];
      next[2 * n] = (float16)(a.s0, b.s0, a.s1, b.s1, a.s2, b.s2, a.s3, b.s3, a.s4, b.s4, a.s5, b.s5, a.s6, b.s6, a.s7, b.s7);
      next[2 * n + 1] =
          (float16)(a.s8, b.s8, a.s9, b.s9, a.sa, b.sa, a.sb, b.sb, a.sc, b.sc, a.sd, b.sd, a.se, b.se, a.sf, b.sf);
    }
#pragma unroll
    for (uint n = 0; n < 16; ++n) v[n] = next[n];
  }
}

#define LANES (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attention_blocks(ARGUMENTS LIST_ARGUMENTS) {
  uint h = get_group_id(1);
  uint b = get_group_id(2);
  Sequence s = SEQUENCE(b);
  int first = get_group_id(0) * 16;
  int rows = min(16, s.queries - first);
  if (rows <= 0) return;
  q += q_offset + b * q_b + h * q_h + s.q_row * q_i;
  y += y_offset + b * y_b + h * y_h + s.q_row * y_i;

  float16 turned[D];
#if D % 16 == 0
  for (uint d = 0; d < D; d += 16) {
    float16 v[16];
    for (int row = 0; row < 16; ++row)
      v[row] = Q_SCALED(row < rows ? JOIN(load16_, Q_TYPE)(q, (first + row) * q_i + d) : (float16)0.0f);
    turn16(v);
    for (uint n = 0; n < 16; ++n) turned[d + n] = v[n];
  }
#else
  float q_lanes[16 * D];
  for (uint row = 0; row < 16; ++row)
    for (uint d = 0; d < D; ++d)
      q_lanes[d * 16 + row] = (int)row < rows ? Q_SCALED(Q_LOAD(q, (first + row) * q_i + d)) : 0.0f;
  for (uint d = 0; d < D; ++d) turned[d] = vload16(d, q_lanes);
#endif
  int row_begins[16], row_ends[16];
  for (int row = 0; row < 16; ++row) {
    int2 run = KEYS_OF(first + row, s);
    row_begins[row] = run.x;
    row_ends[row] = run.y;
  }
  int16 begins = vload16(0, row_begins), ends = vload16(0, row_ends);
  int16 i = min(first + LANES, (int16)(s.queries - 1));  // terms are read of rows that exist
  // A later row's run neither begins nor ends before an earlier one's.
  int begin = row_begins[0], end = row_ends[rows - 1];
  int all_from = row_begins[rows - 1], all_to = rows == 16 ? row_ends[0] : 0;

  float16 sums[DV];
  for (uint d = 0; d < DV; ++d) sums[d] = 0.0f;
  float16 greatest = SINK(h);
  float16 denominator = greatest.s0 == -INFINITY ? 0.0f : 1.0f;
  float key_tile[TILE * D];
  float value_tile[TILE * DV];
  float16 p[TILE];
  int16 keep[TILE];
  EACH_TILE(get_group_id(0)) {
    if (OUTSIDE) continue;
    bool whole = PATTERN_KEEPS_ALL && from >= all_from && from + TILE <= all_to;
    if (!whole) {
      int16 any_kept = 0;
      for (int key = 0; key < TILE; ++key) {
        int j = from + key;
        keep[key] = j >= begins && j < ends;
#if HAS_KEEP
        if (!PATTERN_KEEPS_ALL && j >= begin && j < end)
          keep[key] &= kept16(b, h, i, j, i + s.keys - s.queries TERMS) != 0;
#endif
        any_kept |= keep[key];
      }
      if (!any(any_kept)) continue;
    }
    // What no row sees is 0, not read. `check` decides below whether a masked value could do harm.
    float16 check = 0.0f;
    for (int key = 0; key < TILE; ++key) {
      int j = from + key;
      bool seen = j >= begin && j < end;
#if PAGED
      if (key % 16 == 0) {
        bool exists = j + 15 >= begin && j < end;
        ulong k = KEY_AT(b, h / group, clamp(j, begin, end - 1) / 16 * 16);
        for (uint d = 0; d < D; ++d)
          vstore16(exists ? KEY16(k, d, KEY_SCALES(k, d)) : (float16)0.0f, key / 16 * D + d, key_tile);
      }
#else
      ulong k = KEY_AT(b, h / group, clamp(j, begin, end - 1));
      for (uint d = 0; d < D; ++d) key_tile[key * D + d] = seen ? KEY(k, d) : 0.0f;
#endif
      // An address that exists either way: a compiler may read both sides of a choice.
      ulong v = VALUE_AT(b, h / group, clamp(j, begin, end - 1));
      for (uint d = 0; d < DV; ++d) value_tile[key * DV + d] = seen ? VALUE(v, d) : 0.0f;
    }
    if (!whole || HAS_SCORE)
      for (uint n = 0; n < TILE * DV / 16; ++n) check += vload16(n, value_tile) * 0.0f;  // NaN where one is not finite

    float16 next = greatest;
    for (uint run = 0; run < TILE; run += 16) {
      float16 a[16];
#pragma unroll
      for (uint key = 0; key < 16; ++key) a[key] = 0.0f;
      for (uint d = 0; d < D; ++d) {
        float16 t = turned[d];
#pragma unroll
        for (uint key = 0; key < 16; ++key)
          a[key] = ADD_TERM(a[key], t, (float16)key_tile[run * D + TILE_KEY(key, d)], d);
      }
#pragma unroll
      for (uint key = 0; key < 16; ++key) p[run + key] = SCORE(a[key]);
    }
#if HAS_SCORE
    for (int key = 0; key < TILE; ++key)
      p[key] = scored16(p[key], scale, b, h, i, min(from + key, s.keys - 1), i + s.keys - s.queries TERMS);
#endif
    if (!whole)
      for (uint key = 0; key < TILE; ++key) p[key] = select((float16)-INFINITY, p[key], keep[key]);
    for (uint key = 0; key < TILE; ++key) next = fmax(next, p[key]);
    float16 shift = select(next, (float16)0.0f, next == -INFINITY);
    if (any(next > greatest)) {
      float16 old = exp16(greatest - shift);
      denominator *= old;
      for (uint d = 0; d < DV; ++d) sums[d] *= old;
      greatest = next;
    }
    for (uint key = 0; key < TILE; ++key) {
      float16 e = exp16(p[key] - shift);
      if (!whole || HAS_SCORE) e = select(e, (float16)-0.0f, p[key] == -INFINITY);
      p[key] = e;
      denominator += e;
    }
#if HAS_WEIGHT
    for (int key = 0; key < TILE; ++key) p[key] *= weighed16(b, h, i, from + key TERMS);
#endif
    if (!any(isnan(check))) {
      for (uint d = 0; d < DV; d += CHUNK) {
        float16 a[CHUNK];
#pragma unroll
        for (uint n = 0; n < CHUNK; ++n) a[n] = sums[d + n];
        for (uint key = 0; key < TILE; ++key) {
          float16 t = p[key];
#pragma unroll
          for (uint n = 0; n < CHUNK; ++n) a[n] = fma(t, (float16)value_tile[key * DV + d + n], a[n]);
        }
#pragma unroll
        for (uint n = 0; n < CHUNK; ++n) sums[d + n] = a[n];
      }
    } else {
      for (int key = 0; key < TILE; ++key)
        for (uint d = 0; d < DV; ++d)
          sums[d] = select(fma(p[key], (float16)value_tile[key * DV + d], sums[d]), sums[d], as_int16(p[key]) < 0);
    }
  }
  float16 norm = select(1.0f / denominator, (float16)0.0f, denominator == 0.0f);
  for (uint d = 0; d < DV; ++d) sums[d] = select(sums[d] * norm, (float16)0.0f, denominator == 0.0f);
#if DV % 16 == 0
  for (uint d = 0; d < DV; d += 16) {
    turn16(sums + d);
    for (int row = 0; row < rows; ++row) X_STORE16(y, (first + row) * y_i + d, sums[d + row]);
  }
#else
  float y_lanes[16 * DV];
  for (uint d = 0; d < DV; ++d) vstore16(sums[d], d, y_lanes);
  for (int row = 0; row < rows; ++row)
    for (uint d = 0; d < DV; ++d) X_STORE(y, (first + row) * y_i + d, y_lanes[d * 16 + row]);
#endif
  if (lse) {
    float row_greatest[16], row_denominator[16];
    vstore16(greatest, 0, row_greatest);
    vstore16(denominator, 0, row_denominator);
    for (int row = 0; row < rows; ++row)
      lse[lse_offset + b * lse_b + h * lse_h + (s.q_row + (ulong)(first + row)) * lse_i] =
          LSE(row_greatest[row], row_denominator[row]);
  }
}
