// attention_matrix, attention_matrix_split: prefill and decode by matrix units, as FlashAttention-2 does it (Dao 2023). See
// attention.cl for operands and terms, fragment.cl for what a warp holds, attention_decode.cl for splits.
//
// A group of WARPS warps makes 16 rows a warp, 64 keys at a time: scores = Q · Kᵀ, then Y += P · V, both with f32 sums. Q stays
// in registers as A, keys and values come through local memory as B, and the weights P never leave their lanes: the C of two
// neighbouring products is the A of the next. Each lane has two rows, fragments' g and g + 8, of which four lanes hold the pieces.
//
// Keys and values have one type of 16 bits, q that or f32, which is rounded to it; D and DV are multiples of 16 up to 128. P is
// rounded to that type, its sum is not. In f16 it is multiplied by 2^15 before: weights down to 2^-29 of the greatest then keep
// their 11 bits.
// Local memory: (64 · (D / 2 + 4) + 64 · (DV / 2 + 4) + 4 · ROWS) · 4 B and `exchange`, together 39 KiB where D = DV = 128 and ROWS = 64.
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
#define ITEMS (32 * WARPS)
#define ROWS (16 * WARPS)
#define SCORES (TILE / 8)  // fragments side by side
#define SUMS (DV / 8)
#define WEIGHT_SCALE (IS_F16 ? 32768.0f : 1.0f)
#define LOG2_E 1.44269504f
#define LN_2 0.693147181f
// Within 2 ulp on NVIDIA, and one instruction.
#ifdef MATRIX_UNIT
#define EXP2 native_exp2
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
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void attention_matrix_split(ARGUMENTS SPLIT_ARGUMENTS
                                                                                           SPLIT_APPENDS) {
#else
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void attention_matrix(ARGUMENTS LIST_ARGUMENTS) {
#endif
  TILE_MEMORY(k_tile, TILE, D);  // queries, then keys [key][d]
  TILE_MEMORY(v_tile, TILE, DV);  // values [key][d]
  EXCHANGE_MEMORY(exchange, ITEMS);
  __local uint parts[ROWS * 4];
  __local int kept_any, all_finite;
  uint item = get_local_id(0);
  uint lane = item % 32;
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
  uint warp_row = item / 32 * 16;

  q += q_offset + b * q_b + (ulong)s.q_row * q_i;
  bool is_aligned = ALIGNED(q_offset, q_b, q_h, q_i);
  uint query[D / 16][4];
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

  // Of a lane's two rows, in powers of two: the greatest score, and this lane's part of the sum of weights.
  float2 greatest = PACKS ? -INFINITY : SINK(h) * LOG2_E;
  float2 denominator = lane % 4 > 0 || greatest.x == -INFINITY ? 0.0f : 1.0f;
  float sums[SUMS][4];
  UNROLLED for (uint c = 0; c < SUMS; ++c)
    for (uint e = 0; e < 4; ++e) sums[c][e] = 0.0f;
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
    uint keep = 0xffffffff;  // bit 4c + e: element e of fragment c
    if (!whole) {
      keep = 0;
      UNROLLED for (uint half_of = 0; half_of < 2; ++half_of) {
        uint row = first + warp_row + FRAGMENT_ROW(lane, 2 * half_of);
        int i = ROW(row);
        int2 run = KEYS_OF(i, s);
        UNROLLED for (uint n = 0; n < 2 * SCORES; ++n) {
          int j = from + (int)(n / 2 * 8 + FRAGMENT_COLUMN(lane, n % 2));
          if (j >= run.x && j < run.y && (PATTERN_KEEPS_ALL || KEPT(b, HEAD(row), i, j, s)))
            keep |= 1u << (n / 2 * 4 + 2 * half_of + n % 2);
        }
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tile before is done with
#if HAS_KEEP
    if (!whole) {
      if (item == 0) kept_any = 0;
      barrier(CLK_LOCAL_MEM_FENCE);
      if (keep) kept_any = 1;
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

    float scores[SCORES][4];
    UNROLLED for (uint c = 0; c < SCORES; ++c)
      for (uint e = 0; e < 4; ++e) scores[c][e] = 0.0f;
    UNROLLED for (uint d = 0; d < D / 16; ++d)
      UNROLLED for (uint c = 0; c < SCORES; c += 2) {
        uint key[4];
        fragment_b(key, k_tile + 8 * c * STRIDE(D) + 8 * d, STRIDE(D), lane);
        UNROLLED for (uint n = 0; n < 2; ++n) fragment_multiply(scores[c + n], query[d], key + 2 * n, exchange, item);
      }

    float2 next = greatest;
    UNROLLED for (uint c = 0; c < SCORES; ++c)
      UNROLLED for (uint e = 0; e < 4; ++e) {
        float score = scores[c][e];
#if HAS_SCORE
        // Terms are read of rows and keys that exist.
        uint row = min(first + (int)(warp_row + FRAGMENT_ROW(lane, e)), first + rows - 1);
        int i = ROW(row);
        int j = min(from + (int)(8 * c + FRAGMENT_COLUMN(lane, e)), s.keys - 1);
        score = SCORED(scale * score, b, HEAD(row), i, j, s) * LOG2_E;
#else
        score *= scale * LOG2_E;
#endif
        if (!whole && !(keep >> (4 * c + e) & 1)) score = -INFINITY;
        scores[c][e] = score;
        if (e < 2) next.x = fmax(next.x, score);
        else next.y = fmax(next.y, score);
      }
    next = quad_max(next, exchange, item);
    float2 shift = (float2)(SHIFT(next.x), SHIFT(next.y));
    float2 old = (float2)(EXP2(greatest.x - shift.x), EXP2(greatest.y - shift.y));
    greatest = next;
    denominator *= old;
    UNROLLED for (uint c = 0; c < SCORES; ++c)
      UNROLLED for (uint e = 0; e < 4; ++e) {
        float score = scores[c][e];
        float p = score == -INFINITY ? -0.0f : EXP2(score - (e < 2 ? shift.x : shift.y));
        if (e < 2) denominator.x += p;
        else denominator.y += p;
#if HAS_WEIGHT
        uint row = min(first + (int)(warp_row + FRAGMENT_ROW(lane, e)), first + rows - 1);
        p *= WEIGHED(b, HEAD(row), ROW(row), from + (int)(8 * c + FRAGMENT_COLUMN(lane, e)));
#endif
        scores[c][e] = p * WEIGHT_SCALE;
      }
    UNROLLED for (uint c = 0; c < SUMS; ++c)
      UNROLLED for (uint e = 0; e < 4; ++e) sums[c][e] *= e < 2 ? old.x : old.y;

    copies_arrived(0);
    bool guarded = !whole || HAS_SCORE;
    if (guarded)
      for (uint n = item; n < TILE * (DV / 8); n += ITEMS)  // what this item has copied
        if (clear_infinite(v_tile + n / (DV / 8) * STRIDE(DV) + 4 * (n % (DV / 8)))) all_finite = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (guarded && !all_finite) {
      // parts[row][t], bit 2c + e: the row sees key 8c + 2t + e.
      __local uint *seen = parts + 4 * warp_row;
      UNROLLED for (uint half_of = 0; half_of < 2; ++half_of) {
        uint bits = 0;
        UNROLLED for (uint n = 0; n < 2 * SCORES; ++n)
          if (as_int(scores[n / 2][2 * half_of + n % 2]) >= 0) bits |= 1u << n;
        seen[4 * FRAGMENT_ROW(lane, 2 * half_of) + lane % 4] = bits;
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int j = max(from, begin); j < min(from + TILE, end); ++j) {
        uint key = j - from;
        ulong at = VALUE_AT(b, key_head, j);
        UNROLLED for (uint c = 0; c < SUMS; ++c)
          UNROLLED for (uint e = 0; e < 4; ++e) {
            float value = VALUE(at, 8 * c + FRAGMENT_COLUMN(lane, e));
            uint bits = seen[4 * FRAGMENT_ROW(lane, e) + key % 8 / 2];
            if (!isfinite(value) && (bits >> (key / 8 * 2 + key % 2) & 1)) sums[c][e] += value;
          }
      }
    }

    UNROLLED for (uint k = 0; k < TILE / 16; ++k) {
      uint weights[4];
      UNROLLED for (uint r = 0; r < 4; ++r)
        weights[r] = fragment_word(scores[2 * k + r / 2][r % 2 * 2], scores[2 * k + r / 2][r % 2 * 2 + 1]);
      UNROLLED for (uint c = 0; c < SUMS; c += 2) {
        uint value[4];
        fragment_b_turned(value, v_tile + 16 * k * STRIDE(DV) + 4 * c, STRIDE(DV), lane);
        UNROLLED for (uint n = 0; n < 2; ++n) fragment_multiply(sums[c + n], weights, value + 2 * n, exchange, item);
      }
    }
  }

  denominator = quad_sum(denominator, exchange, item);
#if PACKS
  for (uint e = 0; e < 4; ++e) {
    int row = warp_row + FRAGMENT_ROW(lane, e);
    if (row >= rows) continue;
    uint h = HEAD(row);
    ulong i = ROW(row);
    bool is_first = lane % 4 == 0 && e % 2 == 0;
    float total = e < 2 ? denominator.x : denominator.y, m = LN_2 * (e < 2 ? greatest.x : greatest.y), factor = 1.0f;
    __global float *out = partial + PARTIAL(b, h, i, split);
    if (made_of == 1)
      total = finish(&m, total, SINK(h), is_first && lse ? lse + lse_offset + b * lse_b + h * lse_h + (s.q_row + i) * lse_i : 0,
                     &factor);
    else if (is_first) {
      out[DV] = m;
      out[DV + 1] = total;
    }
    UNROLLED for (uint c = 0; c < SUMS; ++c) {
      uint d = 8 * c + FRAGMENT_COLUMN(lane, e);
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
  UNROLLED for (uint e = 0; e < 4; ++e) {
    int row = warp_row + FRAGMENT_ROW(lane, e);
    if (row >= rows) continue;
    float total = e < 2 ? denominator.x : denominator.y;
    UNROLLED for (uint c = 0; c < SUMS; ++c)
      X_STORE(y, (ulong)(first + row) * y_i + 8 * c + FRAGMENT_COLUMN(lane, e),
              total == 0.0f ? 0.0f : sums[c][e] / (WEIGHT_SCALE * total));
    if (lse && lane % 4 == 0 && e % 2 == 0)
      lse[lse_offset + b * lse_b + h * lse_h + (s.q_row + (ulong)(first + row)) * lse_i] =
          total == 0.0f ? -INFINITY : LN_2 * ((e < 2 ? greatest.x : greatest.y) + log2(total));
  }
#endif
}
