// attention_blocks: one item makes VECTORS times 16 rows, one lane each, so that no step of the softmax crosses lanes; q is turned
// once, keys and values are broadcast from a private tile of TILE keys to all vectors; prefill on CPU devices. See attention.cl for
// operands and terms.
//
// A tile is whole where every row sees every key: no element is tested then.
// Defines: VECTORS (default 1); TILE, keys of a tile: 16, 32 or 64.

#ifndef VECTORS
#define VECTORS 1
#endif
#define ROWS (16 * VECTORS)
// Keys and values of TILE · WIDE ≤ 2048 floats each, 8 KiB, stay in a first cache; q and the sums are 64 B · D · VECTORS
// each. Sixteen sums are registers at once: of so many keys' scores, then of so many of a value's elements. With two vectors a tile
// is filled half as often and a number broadcast serves two sums.
#define ABREAST (16 / VECTORS)
#define CHUNK (DV % ABREAST == 0 ? ABREAST : DV % 8 == 0 ? 8 : 1)
#if PAGED
#define TILE_KEY(key, d) (((key) / 16 * D + (d)) * 16 + (key) % 16)
#else
#define TILE_KEY(key, d) ((key)*D + (d))
#endif
#define EACH_VECTOR _Pragma("unroll") for (uint n = 0; n < VECTORS; ++n)

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
  int first = get_group_id(0) * ROWS;
  int rows = min(ROWS, s.queries - first);
  if (rows <= 0) return;
  q += q_offset + b * q_b + h * q_h + s.q_row * q_i;
  y += y_offset + b * y_b + h * y_h + s.q_row * y_i;

  // Vector n holds rows 16 · n … 16 · n + 15 of the item's; of an array over d, the vectors of one d stand together.
  float16 turned[D * VECTORS];
#if D % 16 == 0
  EACH_VECTOR {
    for (uint d = 0; d < D; d += 16) {
      float16 v[16];
      for (int row = 0; row < 16; ++row)
        v[row] = Q_SCALED((int)(n * 16) + row < rows ? JOIN(load16_, Q_TYPE)(q, (first + n * 16 + row) * q_i + d)
                                                     : (float16)0.0f);
      turn16(v);
      for (uint e = 0; e < 16; ++e) turned[(d + e) * VECTORS + n] = v[e];
    }
  }
#else
  float q_lanes[ROWS * D];
  for (uint row = 0; row < ROWS; ++row)
    for (uint d = 0; d < D; ++d)
      q_lanes[d * ROWS + row] = (int)row < rows ? Q_SCALED(Q_LOAD(q, (first + row) * q_i + d)) : 0.0f;
  for (uint d = 0; d < D * VECTORS; ++d) turned[d] = vload16(d, q_lanes);
#endif
  int row_begins[ROWS], row_ends[ROWS];
  for (int row = 0; row < ROWS; ++row) {
    int2 run = KEYS_OF(first + row, s);
    row_begins[row] = run.x;
    row_ends[row] = run.y;
  }
  // A later row's run neither begins nor ends before an earlier one's.
  int begin = row_begins[0], end = row_ends[rows - 1];
  int all_from = row_begins[rows - 1], all_to = rows == ROWS ? row_ends[0] : 0;

  float16 sums[DV * VECTORS];
  for (uint d = 0; d < DV * VECTORS; ++d) sums[d] = 0.0f;
  int16 begins[VECTORS], ends[VECTORS], i[VECTORS];
  float16 greatest[VECTORS], denominator[VECTORS];
  EACH_VECTOR {
    begins[n] = vload16(n, row_begins);
    ends[n] = vload16(n, row_ends);
    i[n] = min((int)(first + n * 16) + LANES, (int16)(s.queries - 1));  // terms are read of rows that exist
    greatest[n] = SINK(h);
    denominator[n] = greatest[n].s0 == -INFINITY ? 0.0f : 1.0f;
  }
  float key_tile[TILE * D] __attribute__((aligned(64)));
  float value_tile[TILE * DV] __attribute__((aligned(64)));
  float16 p[TILE * VECTORS];
  int16 keep[TILE * VECTORS];
  EACH_TILE(get_group_id(0)) {
    if (OUTSIDE) continue;
    bool whole = PATTERN_KEEPS_ALL && from >= all_from && from + TILE <= all_to;
    if (!whole) {
      int16 any_kept = 0;
      for (int key = 0; key < TILE; ++key) {
        int j = from + key;
        EACH_VECTOR {
          int16 kept = j >= begins[n] && j < ends[n];
#if HAS_KEEP
          if (!PATTERN_KEEPS_ALL && j >= begin && j < end)
            kept &= kept16(b, h, i[n], j, i[n] + s.keys - s.queries TERMS) != 0;
#endif
          any_kept |= kept;
          keep[key * VECTORS + n] = kept;
        }
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
        __private float16 *to = (__private float16 *)(key_tile + key * D);
        for (uint d = 0; d < D; ++d) to[d] = exists ? KEY16(k, d, KEY_SCALES(k, d)) : (float16)0.0f;
      }
#else
      ulong k = KEY_AT(b, h / group, clamp(j, begin, end - 1));
#if D % 16 == 0
      for (uint d = 0; d < D; d += 16)
        *(__private float16 *)(key_tile + key * D + d) = seen ? JOIN(load16_, K_TYPE)(keys, k + d) : (float16)0.0f;
#else
      for (uint d = 0; d < D; ++d) key_tile[key * D + d] = seen ? KEY(k, d) : 0.0f;
#endif
#endif
      // An address that exists either way: a compiler may read both sides of a choice.
      ulong v = VALUE_AT(b, h / group, clamp(j, begin, end - 1));
#if DV % 16 == 0 && !QUANTISED
      for (uint d = 0; d < DV; d += 16)
        *(__private float16 *)(value_tile + key * DV + d) = seen ? VALUE16(v, d, 1.0f) : (float16)0.0f;
#else
      for (uint d = 0; d < DV; ++d) value_tile[key * DV + d] = seen ? VALUE(v, d) : 0.0f;
#endif
    }
    if (!whole || HAS_SCORE)
      for (uint n = 0; n < TILE * DV / 16; ++n) check += vload16(n, value_tile) * 0.0f;  // NaN where one is not finite

    for (uint run = 0; run < TILE; run += ABREAST) {
      float16 a[16];
#pragma unroll
      for (uint m = 0; m < 16; ++m) a[m] = 0.0f;
      for (uint d = 0; d < D; ++d) {
        float16 t[VECTORS];
        EACH_VECTOR t[n] = turned[d * VECTORS + n];
#pragma unroll
        for (uint key = 0; key < ABREAST; ++key) {
          float16 k = key_tile[TILE_KEY(run + key, d)];
          EACH_VECTOR a[key * VECTORS + n] = ADD_TERM(a[key * VECTORS + n], t[n], k, d);
        }
      }
#pragma unroll
      for (uint m = 0; m < 16; ++m) p[run * VECTORS + m] = SCORE(a[m]);
    }
#if HAS_SCORE
    for (int key = 0; key < TILE; ++key) {
      EACH_VECTOR p[key * VECTORS + n] = scored16(p[key * VECTORS + n], scale, b, h, i[n], min(from + key, s.keys - 1),
                                                  i[n] + s.keys - s.queries TERMS);
    }
#endif
    if (!whole)
      for (uint m = 0; m < TILE * VECTORS; ++m) p[m] = select((float16)-INFINITY, p[m], keep[m]);
    float16 shift[VECTORS];
    EACH_VECTOR {
      float16 next = greatest[n];
      for (uint key = 0; key < TILE; ++key) next = fmax(next, p[key * VECTORS + n]);
      shift[n] = select(next, (float16)0.0f, next == -INFINITY);
      if (any(next > greatest[n])) {
        float16 old = exp16(greatest[n] - shift[n]);
        denominator[n] *= old;
        for (uint d = 0; d < DV; ++d) sums[d * VECTORS + n] *= old;
        greatest[n] = next;
      }
    }
    for (uint key = 0; key < TILE; ++key) {
      EACH_VECTOR {
        float16 score = p[key * VECTORS + n];
        float16 e = exp16(score - shift[n]);
        if (!whole || HAS_SCORE) e = select(e, (float16)-0.0f, score == -INFINITY);
        p[key * VECTORS + n] = e;
        denominator[n] += e;
      }
    }
#if HAS_WEIGHT
    for (int key = 0; key < TILE; ++key) {
      EACH_VECTOR p[key * VECTORS + n] *= weighed16(b, h, i[n], from + key TERMS);
    }
#endif
    if (!any(isnan(check))) {
      for (uint d = 0; d < DV; d += CHUNK) {
        float16 a[CHUNK * VECTORS];
#pragma unroll
        for (uint m = 0; m < CHUNK * VECTORS; ++m) a[m] = sums[d * VECTORS + m];
        for (uint key = 0; key < TILE; ++key) {
          float16 t[VECTORS];
          EACH_VECTOR t[n] = p[key * VECTORS + n];
#pragma unroll
          for (uint c = 0; c < CHUNK; ++c) {
            float16 v = value_tile[key * DV + d + c];
            EACH_VECTOR a[c * VECTORS + n] = fma(t[n], v, a[c * VECTORS + n]);
          }
        }
#pragma unroll
        for (uint m = 0; m < CHUNK * VECTORS; ++m) sums[d * VECTORS + m] = a[m];
      }
    } else {
      for (int key = 0; key < TILE; ++key)
        for (uint d = 0; d < DV; ++d) {
          EACH_VECTOR {
            float16 t = p[key * VECTORS + n], sum = sums[d * VECTORS + n];
            sums[d * VECTORS + n] = select(fma(t, (float16)value_tile[key * DV + d], sum), sum, as_int16(t) < 0);
          }
        }
    }
  }
  EACH_VECTOR {
    float16 norm = select(1.0f / denominator[n], (float16)0.0f, denominator[n] == 0.0f);
    for (uint d = 0; d < DV; ++d)
      sums[d * VECTORS + n] = select(sums[d * VECTORS + n] * norm, (float16)0.0f, denominator[n] == 0.0f);
  }
#if DV % 16 == 0
  EACH_VECTOR {
    for (uint d = 0; d < DV; d += 16) {
      float16 v[16];
      for (uint e = 0; e < 16; ++e) v[e] = sums[(d + e) * VECTORS + n];
      turn16(v);
      for (int row = 0; row < 16 && (int)(n * 16) + row < rows; ++row)
        X_STORE16(y, (first + n * 16 + row) * y_i + d, v[row]);
    }
  }
#else
  float y_lanes[ROWS * DV];
  for (uint d = 0; d < DV * VECTORS; ++d) vstore16(sums[d], d, y_lanes);
  for (int row = 0; row < rows; ++row)
    for (uint d = 0; d < DV; ++d) X_STORE(y, (first + row) * y_i + d, y_lanes[d * ROWS + row]);
#endif
  if (lse) {
    float row_greatest[ROWS], row_denominator[ROWS];
    EACH_VECTOR {
      vstore16(greatest[n], n, row_greatest);
      vstore16(denominator[n], n, row_denominator);
    }
    for (int row = 0; row < rows; ++row)
      lse[lse_offset + b * lse_b + h * lse_h + (s.q_row + (ulong)(first + row)) * lse_i] =
          LSE(row_greatest[row], row_denominator[row]);
  }
}
