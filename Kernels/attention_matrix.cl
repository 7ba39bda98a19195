// attention_matrix, attention_matrix_split: prefill and decode by matrix units, as FlashAttention-2 does it (Dao 2023). See
// attention.cl for operands and terms, fragment.cl for what a warp holds, attention_decode.cl for splits.
//
// A group of WARPS warps makes 16 rows a warp, 64 keys at a time: scores = Q · Kᵀ, then Y += P · V, both with f32 sums. Q stays
// in registers as A, keys and values come through local memory as B, and the weights P stay in registers too: the C of one product
// is the A of the next.
//
// Keys and values have one type of 16 bits, q that or f32, which is rounded to it; D and DV are multiples of 16 up to 128. P is
// rounded to that type, its sum is not. In f16 it is multiplied by 2^15 before: weights down to 2^-29 of the greatest then keep
// their 11 bits.
// Local memory: (64 · (D / 2 + 4) + 64 · (DV / 2 + 4) + 2 · ROWS) · 4 B and `exchange`, together 39 KiB in the
// emulation of NVIDIA's lanes where D = DV = 128 and ROWS = 64.
// Where PACKS, the rows are all those of a sequence for one key head, whatever their query heads, and the keys one split; new keys
// and values join the cache first, as in attention_split.
// A value that is not finite in a tile that is not whole is 0 in local memory, and added to the rows that see it by itself.

#define Q_IS_f32 1
#define Q_IS_f16 0
#define Q_IS_bf16 0
#define ROUNDS_Q JOIN(Q_IS_, Q_TYPE)

#ifndef WARPS
#define WARPS 4
#endif
#define ITEMS (LANES * WARPS)
#define ROWS (16 * WARPS)
#define SCORES (TILE / 16)  // fragments side by side
#define SUMS (DV / 16)
#define KEEP_WORDS ((SCORES * ELEMENTS + 31) / 32)
// Whether tiles of which no row sees a key are left out. Not in the emulation of 64 lanes: of 256 items PoCL 3.1 makes wrong code
// of `continue` between barriers (Intel's runtime and Oclgrind do not, nor PoCL of fewer).
#ifdef MATRIX_UNIT
#define SKIPS HAS_KEEP
#else
#define SKIPS (HAS_KEEP && LANES < 64)
#endif
#define WEIGHT_SCALE (IS_F16 ? 32768.0f : 1.0f)
#define LOG2_E 1.44269504f
#define LN_2 0.693147181f
#ifdef UNIT_EXP2
#define EXP2 UNIT_EXP2
#else
#define EXP2 exp2
#endif

#ifndef PACKS
#define PACKS 0
#endif
#if !PACKS
#define ROW(n) ((int)(n))
#define HEAD(n) h
#endif

// Whether rows that begin at these places, all in elements, begin at 16 bytes.
#define ALIGNED(offset, b, h, row) ((((offset) | (b) | (h) | (row)) & 7) == 0)

#if PACKS
__kernel UNIT_KERNEL __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void attention_matrix_split(
    ARGUMENTS SPLIT_ARGUMENTS SPLIT_APPENDS) {
#else
__kernel UNIT_KERNEL __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void attention_matrix(ARGUMENTS LIST_ARGUMENTS) {
#endif
  TILE_MEMORY(k_tile, TILE, D);  // queries, then keys [key][d]
  TILE_MEMORY(v_tile, TILE, DV);  // values [key][d]
  EXCHANGE_MEMORY(exchange, WARPS);
  __local uint seen[ROWS * (TILE / 32)];
  __local int kept_any, all_finite;
  uint item = get_local_id(0);
  uint lane = item % LANES;
  uint b = get_group_id(2);
  Sequence s = SEQUENCE(b);
#if PACKS
  __local uint answer;
  uint key_head = get_group_id(0);
  uint split = get_group_id(1);
  int first = 0;
  int rows = min(ROWS, s.queries * (int)group);
  if (rows <= 0) return;
#else
  uint h = get_group_id(1);
  uint key_head = h / group;
  int first = get_group_id(0) * ROWS;
  int rows = min(ROWS, s.queries - first);
  if (rows <= 0) return;
#endif
  // A later row's run neither begins nor ends before an earlier one's.
  int2 first_run = KEYS_OF(ROW(first), s), last_run = KEYS_OF(ROW(first + rows - 1), s);
  int begin = first_run.x, end = last_run.y;
#if PACKS
  uint base = begin / SPLIT;
  uint made_of = min(splits, (uint)max(1, (end + SPLIT - 1) / SPLIT - (int)base));
  if (split >= made_of) return;
  int begins = (int)(base + split) * SPLIT;
  uint token = query_starts ? s.q_row : b * queries;
#if APPENDS
  for (uint n = item; n < APPENDED_PARTS(s, begins); n += ITEMS) APPEND_PART(n, s, begins);
  barrier(CLK_GLOBAL_MEM_FENCE);
#endif
  begin = max(begin, begins);
  end = min(end, begins + SPLIT);
#endif
  uint warp_row = item / LANES * 16;

  q += q_offset + b * q_b + (ulong)s.q_row * q_i;
  bool is_aligned = ALIGNED(q_offset, q_b, q_h, q_i);
  uint query[D / 16][WORDS];
  for (uint piece = 0; piece < ROWS; piece += TILE) {
    for (uint n = item; n < TILE * (D / 8); n += ITEMS) {
      uint row = piece + n / (D / 8), part = n % (D / 8);
      __local uint *to = k_tile + (row - piece) * STRIDE(D) + 4 * part;
      __global const Q_T *from = q + HEAD(first + row) * q_h + (ulong)ROW(first + row) * q_i + 8 * part;
      if ((int)row < rows)
#if APPENDS
        for (uint e = 0; e < 4; ++e) {
          float pair[2];
          for (uint n = 0; n < 2; ++n)
            pair[n] = turned_element(from - 8 * part, 8 * part + 2 * e + n, cosines + cosines_offset, sines + sines_offset,
                                     POSITION_OF(token + ROW(first + row)), length, pairs, adjacent);
          to[e] = fragment_word(pair[0], pair[1]);
        }
#elif ROUNDS_Q
        for (uint e = 0; e < 4; ++e) to[e] = fragment_word(from[2 * e], from[2 * e + 1]);
#else
        copy_eight(to, (__global const ushort *)from, 1, is_aligned);
#endif
      else
        *(__local uint4 *)to = 0;
    }
    copies_commit();
    copies_arrived(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (warp_row / TILE == piece / TILE) {
      UNROLLED for (uint d = 0; d < D / 16; ++d)
        fragment_a(query[d], k_tile + warp_row % TILE * STRIDE(D) + 8 * d, STRIDE(D), lane);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }

  // Of a lane's rows, in powers of two: the greatest score, and this lane's part of the sum of weights.
  bool is_first_sharer = lane / SHARER_STEP % SHARERS == 0;
  float greatest[LANE_ROWS], denominator[LANE_ROWS];
  UNROLLED for (uint r = 0; r < LANE_ROWS; ++r) {
    greatest[r] = PACKS ? -INFINITY : SINK(h) * LOG2_E;
    denominator[r] = !is_first_sharer || greatest[r] == -INFINITY ? 0.0f : 1.0f;
  }
  float sums[SUMS][ELEMENTS];
  UNROLLED for (uint c = 0; c < SUMS; ++c)
    UNROLLED for (uint e = 0; e < ELEMENTS; ++e) sums[c][e] = 0.0f;
  __global const ushort *key_bits = (__global const ushort *)keys;
  __global const ushort *value_bits = (__global const ushort *)values;
#if PAGED
  bool keys_aligned = false, values_aligned = true;
#else
  bool keys_aligned = ALIGNED(keys_offset, keys_b, keys_h, keys_j);
  bool values_aligned = ALIGNED(values_offset, values_b, values_h, values_j);
#endif
  EACH_TILE(get_group_id(0)) {
    if (OUTSIDE) continue;
    // Rows past the last have whatever weights: nobody sees them.
    bool whole = PATTERN_KEEPS_ALL && from >= last_run.x && from + TILE <= first_run.y;
    uint keep[KEEP_WORDS], keeps = 0;  // bit ELEMENTS · c + e: element e of fragment c
    if (!whole) {
      int2 runs[LANE_ROWS];
      UNROLLED for (uint r = 0; r < LANE_ROWS; ++r) runs[r] = KEYS_OF(ROW(first + warp_row + ROW_OF(lane, r)), s);
      UNROLLED for (uint n = 0; n < KEEP_WORDS; ++n) keep[n] = 0;
      UNROLLED for (uint n = 0; n < SCORES * ELEMENTS; ++n) {
        uint e = n % ELEMENTS, row = first + warp_row + FRAGMENT_ROW(lane, e);
        int2 run = runs[LANE_ROW(e)];
        int j = from + (int)(n / ELEMENTS * 16 + FRAGMENT_COLUMN(lane, e));
        if (j >= run.x && j < run.y && (PATTERN_KEEPS_ALL || KEPT(b, HEAD(row), ROW(row), j, s)))
          keep[n / 32] |= 1u << n % 32;
      }
      UNROLLED for (uint n = 0; n < KEEP_WORDS; ++n) keeps |= keep[n];
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tile before is done with
#if SKIPS
    if (!whole) {
      if (item == 0) kept_any = 0;
      barrier(CLK_LOCAL_MEM_FENCE);
      if (keeps) kept_any = 1;
      barrier(CLK_LOCAL_MEM_FENCE);
      if (!kept_any) continue;
    }
#endif
    // Keys first: values may still be on their way while scores are made.
    for (uint n = item; n < TILE * (D / 8); n += ITEMS) {
      uint key = PAGED ? n % TILE : n / (D / 8), part = PAGED ? n / TILE : n % (D / 8);
      int j = from + (int)key;
      __local uint *to = k_tile + key * STRIDE(D) + 4 * part;
      if (j >= begin && j < end)
        copy_eight(to, key_bits + KEY_AT(b, key_head, j) + 8 * part * KEY_STEP, KEY_STEP, keys_aligned);
      else
        *(__local uint4 *)to = 0;
    }
    copies_commit();
    for (uint n = item; n < TILE * (DV / 8); n += ITEMS) {
      uint key = n / (DV / 8), part = n % (DV / 8);
      int j = from + (int)key;
      __local uint *to = v_tile + key * STRIDE(DV) + 4 * part;
      if (j >= begin && j < end)
        copy_eight(to, value_bits + VALUE_AT(b, key_head, j) + 8 * part, 1, values_aligned);
      else
        *(__local uint4 *)to = 0;
    }
    copies_commit();
    if (item == 0) all_finite = 1;
    copies_arrived(1);
    barrier(CLK_LOCAL_MEM_FENCE);

    float scores[SCORES][ELEMENTS];
    UNROLLED for (uint c = 0; c < SCORES; ++c)
      UNROLLED for (uint e = 0; e < ELEMENTS; ++e) scores[c][e] = 0.0f;
    UNROLLED for (uint d = 0; d < D / 16; ++d)
      UNROLLED for (uint c = 0; c < SCORES; ++c) {
        uint key[WORDS];
        fragment_b(key, k_tile + 16 * c * STRIDE(D) + 8 * d, STRIDE(D), lane);
        fragment_multiply(scores[c], query[d], key, exchange, item);
      }

    float next[LANE_ROWS], shift[LANE_ROWS], old[LANE_ROWS];
    UNROLLED for (uint r = 0; r < LANE_ROWS; ++r) next[r] = greatest[r];
    UNROLLED for (uint c = 0; c < SCORES; ++c)
      UNROLLED for (uint e = 0; e < ELEMENTS; ++e) {
        float score = scores[c][e];
#if HAS_SCORE
        // Terms are read of rows and keys that exist.
        uint row = min(first + (int)(warp_row + FRAGMENT_ROW(lane, e)), first + rows - 1);
        int i = ROW(row);
        int j = min(from + (int)(16 * c + FRAGMENT_COLUMN(lane, e)), s.keys - 1);
        score = SCORED(scale * score, b, HEAD(row), i, j, s) * LOG2_E;
#else
        score *= scale * LOG2_E;
#endif
        uint bit = ELEMENTS * c + e;
        if (!whole && !(keep[bit / 32] >> bit % 32 & 1)) score = -INFINITY;
        scores[c][e] = score;
        next[LANE_ROW(e)] = fmax(next[LANE_ROW(e)], score);
      }
    share_rows(next, false, exchange, item);
    UNROLLED for (uint r = 0; r < LANE_ROWS; ++r) {
      shift[r] = SHIFT(next[r]);
      old[r] = EXP2(greatest[r] - shift[r]);
      greatest[r] = next[r];
      denominator[r] *= old[r];
    }
    UNROLLED for (uint c = 0; c < SCORES; ++c)
      UNROLLED for (uint e = 0; e < ELEMENTS; ++e) {
        float score = scores[c][e];
        float p = score == -INFINITY ? -0.0f : EXP2(score - shift[LANE_ROW(e)]);
        denominator[LANE_ROW(e)] += p;
#if HAS_WEIGHT
        uint row = min(first + (int)(warp_row + FRAGMENT_ROW(lane, e)), first + rows - 1);
        p *= WEIGHED(b, HEAD(row), ROW(row), from + (int)(16 * c + FRAGMENT_COLUMN(lane, e)));
#endif
        scores[c][e] = p * WEIGHT_SCALE;
      }
    UNROLLED for (uint c = 0; c < SUMS; ++c)
      UNROLLED for (uint e = 0; e < ELEMENTS; ++e) sums[c][e] *= old[LANE_ROW(e)];

    copies_arrived(0);
    bool guarded = !whole || HAS_SCORE;
    if (guarded)
      for (uint n = item; n < TILE * (DV / 8); n += ITEMS)  // what this item has copied
        if (clear_infinite(v_tile + n / (DV / 8) * STRIDE(DV) + 4 * (n % (DV / 8)))) all_finite = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (guarded && !all_finite) {
      // seen[row][n], bit m: the row sees key 32n + m.
      for (uint n = item; n < ROWS * (TILE / 32); n += ITEMS) seen[n] = 0;
      barrier(CLK_LOCAL_MEM_FENCE);
      UNROLLED for (uint r = 0; r < LANE_ROWS; ++r)
        UNROLLED for (uint n = 0; n < TILE / 32; ++n) {
          uint bits = 0;
          UNROLLED for (uint m = 0; m < 2 * ELEMENTS; ++m) {
            uint c = m / ELEMENTS, e = m % ELEMENTS;
            if (LANE_ROW(e) == r && as_int(scores[2 * n + c][e]) >= 0) bits |= 1u << (16 * c + FRAGMENT_COLUMN(lane, e));
          }
          atomic_or(seen + (warp_row + ROW_OF(lane, r)) * (TILE / 32) + n, bits);
        }
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int j = max(from, begin); j < min(from + TILE, end); ++j) {
        uint key = j - from;
        ulong at = VALUE_AT(b, key_head, j);
        UNROLLED for (uint c = 0; c < SUMS; ++c)
          UNROLLED for (uint e = 0; e < ELEMENTS; ++e) {
            float value = VALUE(at, 16 * c + FRAGMENT_COLUMN(lane, e));
            uint bits = seen[(warp_row + FRAGMENT_ROW(lane, e)) * (TILE / 32) + key / 32];
            if (!isfinite(value) && (bits >> key % 32 & 1)) sums[c][e] += value;
          }
      }
    }

    UNROLLED for (uint k = 0; k < SCORES; ++k) {
      uint weights[WORDS];
      fragment_a_of(weights, scores[k], exchange, item);
      UNROLLED for (uint c = 0; c < SUMS; ++c) {
        uint value[WORDS];
        fragment_b_turned(value, v_tile + 16 * k * STRIDE(DV) + 8 * c, STRIDE(DV), lane);
        fragment_multiply(sums[c], weights, value, exchange, item);
      }
    }
  }

  share_rows(denominator, true, exchange, item);
#if PACKS
  UNROLLED for (uint r = 0; r < LANE_ROWS; ++r) {
    int row = warp_row + ROW_OF(lane, r);
    if (row >= rows) continue;
    uint h = HEAD(row);
    ulong i = ROW(row);
    float total = denominator[r], m = LN_2 * greatest[r], factor = 1.0f;
    __global float *out = partial + PARTIAL(b, h, i, split);
    if (made_of == 1) {
      bool tells = is_first_sharer && lse;
      total = finish(&m, total, SINK(h), tells ? lse + lse_offset + b * lse_b + h * lse_h + (s.q_row + i) * lse_i : 0, &factor);
    } else if (is_first_sharer) {
      out[DV] = m;
      out[DV + 1] = total;
    }
    UNROLLED for (uint n = 0; n < SUMS * ELEMENTS; ++n) {
      uint c = n / ELEMENTS, e = n % ELEMENTS;
      if (LANE_ROW(e) != r) continue;
      uint d = 16 * c + FRAGMENT_COLUMN(lane, e);
      float sum = sums[c][e] / WEIGHT_SCALE;
      if (made_of == 1)
        X_STORE(y, y_offset + b * y_b + h * y_h + (s.q_row + i) * y_i + d, total == 0.0f ? 0.0f : sum * factor / total);
      else
        out[d] = sum;
    }
  }
  if (made_of == 1) return;
  join_splits(b, key_head, split, base, made_of, s, item, ITEMS, &answer, ARGUMENTS_PASSED, partial, splits, made);
#else
  y += y_offset + b * y_b + h * y_h + (ulong)s.q_row * y_i;
  UNROLLED for (uint r = 0; r < LANE_ROWS; ++r) {
    int row = warp_row + ROW_OF(lane, r);
    if (row >= rows) continue;
    float total = denominator[r];
    UNROLLED for (uint n = 0; n < SUMS * ELEMENTS; ++n) {
      uint c = n / ELEMENTS, e = n % ELEMENTS;
      if (LANE_ROW(e) != r) continue;
      X_STORE(y, (ulong)(first + row) * y_i + 16 * c + FRAGMENT_COLUMN(lane, e),
              total == 0.0f ? 0.0f : sums[c][e] / (WEIGHT_SCALE * total));
    }
    if (lse && is_first_sharer)
      lse[lse_offset + b * lse_b + h * lse_h + (s.q_row + (ulong)(first + row)) * lse_i] =
          total == 0.0f ? -INFINITY : LN_2 * (greatest[r] + log2(total));
  }
#endif
}
