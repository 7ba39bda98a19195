// attention_tiled: a group of 8 × 8 items makes TILE rows, TILE keys at a time through local memory; prefill on GPUs. See
// attention.cl for operands and terms.
//
// A tile is whole where every row sees every key: no element is tested then.
// Defines: TILE, rows and keys of a tile: 16 or 32.

#define WIDE (D > DV ? D : DV)

#define SIDE 8                        // items per side of the group
#define EACH (TILE / SIDE)            // rows, and keys, of one item
#define COLUMNS ((DV + SIDE - 1) / SIDE)  // elements of a result row held by one item

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void attention_tiled(ARGUMENTS LIST_ARGUMENTS) {
  __local float q_tile[D * TILE];        // [d][row]
  __local float kv_tile[WIDE * TILE];    // keys [d][key], then values [key][d]
  __local float p_tile[TILE * (TILE + 1)];  // [row][key]
  __local float old_scale[TILE], row_max[TILE], row_sum[TILE];
  __local int kept_any, all_finite;
  uint column = get_local_id(0);
  uint line = get_local_id(1);
  uint item = line * SIDE + column;
  uint h = get_group_id(1);
  uint b = get_group_id(2);
  Sequence s = SEQUENCE(b);
  int first = get_group_id(0) * TILE;
  int rows = min(TILE, s.queries - first);
  if (rows <= 0) return;
  q += q_offset + b * q_b + h * q_h + s.q_row * q_i;
  y += y_offset + b * y_b + h * y_h + s.q_row * y_i;
  for (uint n = item; n < D * TILE; n += SIDE * SIDE) {
    uint row = n / D, d = n % D;
    q_tile[d * TILE + row] = (int)row < rows ? Q_SCALED(Q_LOAD(q, (first + row) * q_i + d)) : 0.0f;
  }
  for (uint row = item; row < TILE; row += SIDE * SIDE) {
    row_max[row] = SINK(h);
    row_sum[row] = row_max[row] == -INFINITY ? 0.0f : 1.0f;
  }
  float sums[EACH][COLUMNS];
  for (uint r = 0; r < EACH; ++r)
    for (uint c = 0; c < COLUMNS; ++c) sums[r][c] = 0.0f;
  // A later row's run neither begins nor ends before an earlier one's.
  int2 first_run = KEYS_OF(first, s), last_run = KEYS_OF(first + rows - 1, s);
  int begin = first_run.x, end = last_run.y;
  EACH_TILE(get_group_id(0)) {
    if (OUTSIDE) continue;
    bool whole = PATTERN_KEEPS_ALL && rows == TILE && from >= last_run.x && from + TILE <= first_run.y;
    int counts[EACH][EACH];
    for (uint r = 0; r < EACH; ++r)
      for (uint k = 0; k < EACH; ++k) {
        int i = first + (int)(line + SIDE * r), j = from + (int)(column + SIDE * k);
        int2 run = whole ? (int2)(0, 0) : KEYS_OF(i, s);
        counts[r][k] = whole ? 1 : j < run.x || j >= run.y ? 0 : PATTERN_KEEPS_ALL ? 1 : KEPT(b, h, i, j, s);
      }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0) {
      kept_any = whole;
      all_finite = 1;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (!whole) {
      for (uint r = 0; r < EACH; ++r)
        for (uint k = 0; k < EACH; ++k)
          if (counts[r][k]) kept_any = 1;
      barrier(CLK_LOCAL_MEM_FENCE);
      if (!kept_any) continue;
    }
    for (uint n = item; n < D * TILE; n += SIDE * SIDE) {
      uint key = PAGED ? n % TILE : n / D, d = PAGED ? n / TILE : n % D;
      int j = from + (int)key;
      kv_tile[d * TILE + key] = j >= begin && j < end ? KEY(KEY_AT(b, h / group, j), d) : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    float scores[EACH][EACH];
    for (uint r = 0; r < EACH; ++r)
      for (uint k = 0; k < EACH; ++k) scores[r][k] = 0.0f;
    for (uint d = 0; d < D; ++d)
      for (uint r = 0; r < EACH; ++r)
        for (uint k = 0; k < EACH; ++k)
          scores[r][k] = ADD_TERM(scores[r][k], q_tile[d * TILE + line + SIDE * r],
                                  kv_tile[d * TILE + column + SIDE * k], d);
    for (uint r = 0; r < EACH; ++r)
      for (uint k = 0; k < EACH; ++k) {
        uint row = line + SIDE * r, key = column + SIDE * k;
        p_tile[row * (TILE + 1) + key] =
            counts[r][k] ? SCORED(SCORE(scores[r][k]), b, h, first + (int)row, from + (int)key, s) : -INFINITY;
      }
    barrier(CLK_LOCAL_MEM_FENCE);
    // One item finishes a row's softmax while all bring in the values.
    for (uint row = item; row < TILE; row += SIDE * SIDE) {
      float greatest = row_max[row];
      for (uint key = 0; key < TILE; ++key) greatest = fmax(greatest, p_tile[row * (TILE + 1) + key]);
      float old = exp(row_max[row] - SHIFT(greatest));
      float total = row_sum[row] * old;
      for (uint key = 0; key < TILE; ++key) {
        float score = p_tile[row * (TILE + 1) + key];
        float p = score == -INFINITY ? -0.0f : exp(score - SHIFT(greatest));
        total += p;
        p_tile[row * (TILE + 1) + key] = p * WEIGHED(b, h, first + (int)row, from + (int)key);
      }
      row_max[row] = greatest;
      row_sum[row] = total;
      old_scale[row] = old;
    }
    for (uint n = item; n < DV * TILE; n += SIDE * SIDE) {
      uint key = n / DV, d = n % DV;
      int j = from + (int)key;
      float value = j >= begin && j < end ? VALUE(VALUE_AT(b, h / group, j), d) : 0.0f;
      if (!isfinite(value)) all_finite = 0;
      kv_tile[key * DV + d] = value;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint r = 0; r < EACH; ++r) {
      uint row = line + SIDE * r;
      for (uint c = 0; c < COLUMNS; ++c) sums[r][c] *= old_scale[row];
      for (int key = 0; key < TILE; ++key) {
        float p = p_tile[row * (TILE + 1) + key];
        if (!all_finite && as_int(p) < 0) continue;  // what takes no part stays out, finite or not
        for (uint c = 0; c < COLUMNS; ++c) {
          uint d = column + SIDE * c;
          if (d < DV) sums[r][c] = fma(p, kv_tile[key * DV + d], sums[r][c]);
        }
      }
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint r = 0; r < EACH; ++r) {
    uint row = line + SIDE * r;
    if ((int)row >= rows) continue;
    float denominator = row_sum[row];
    for (uint c = 0; c < COLUMNS; ++c) {
      uint d = column + SIDE * c;
      if (d < DV) X_STORE(y, (first + row) * y_i + d, denominator == 0.0f ? 0.0f : sums[r][c] / denominator);
    }
    if (lse && column == 0)
      lse[lse_offset + b * lse_b + h * lse_h + (s.q_row + (ulong)first + row) * lse_i] =
          LSE(row_max[row], denominator);
  }
}
