// attention: y = softmax(scale · q·kᵀ, keys that may be seen) · v, the scores never leave the kernel
//
// operand   shape              storage
// q         [B, Hq, Lq, D]     X_TYPE; strides of b, h and i are arguments, as for y
// keys      [B, Hkv, Lk, D]    K_TYPE; strides of b, h and j; or PAGED: [blocks, Hkv, D, 16], transposed within a block
// values    [B, Hkv, Lk, Dv]   K_TYPE; likewise; or PAGED: [blocks, Hkv, 16, Dv]
// lengths   [B]                i32; keys of each sequence, may be absent (null) where keys are dense
// table     [B, table_stride]  i32; PAGED: block of keys 16n … 16n + 15
// y         [B, Hq, Lq, Dv]    X_TYPE
// partial   [B, Hq, Lq, splits, Dv + 2]  f32; a split's sums, then its maximum and its denominator
//
// Query head h reads key head h / group. Every mask so far keeps a prefix of the keys: row i sees keys j < visible(i). A row
// without keys is 0. Keys and values past that prefix are not read, or cannot change the result where they are.
//
// Strategies, simplest first:
//   attention_rows    one item per row; any device, any size, no local memory
//   attention_tiled   a group of 8 × 8 items makes TILE rows, TILE keys at a time through local memory; prefill on GPUs
//   attention_blocks  one item makes 16 rows, one lane each, so that no step of the softmax crosses lanes; q is turned
//                     once, keys and values are broadcast from a private tile; prefill on CPU devices
//   attention_split   a group of SPLIT items takes SPLIT keys of one row and key head, an item a key; decode on GPUs
//   attention_lanes   one item takes SPLIT keys of one row and key head for HEADS query heads at once, sixteen keys a
//                     vector; decode on CPU devices. attention_merge joins the splits of the last two
// Defines: D, DV, head sizes; X_TYPE, K_TYPE storages; PAGED 0|1; TILE 32 or 16; HEADS, divides the group; SPLIT, fixed so
// that a row's bits do not depend on its neighbours. Reference: Attention.compute. Cases: AttentionCases.

#ifndef D
#define D 64
#endif
#ifndef DV
#define DV D
#endif
#ifndef K_TYPE
#define K_TYPE X_TYPE
#endif
#ifndef PAGED
#define PAGED 0
#endif
#ifndef TILE
#define TILE 32
#endif
#ifndef HEADS
#define HEADS 1
#endif
#ifndef SPLIT
#define SPLIT 128
#endif
#define BLOCK 16  // keys of a cache block

#define K_T JOIN(K_TYPE, _t)
#define K_LOAD(p, i) JOIN(load_, K_TYPE)(p, i)
#define K_LOAD16(p, i) JOIN(load16_, K_TYPE)(p, i)

#define CAUSAL_NONE 0
#define CAUSAL_UPPER_LEFT 1
#define CAUSAL_LOWER_RIGHT 2

// Where row i of sequence b stops seeing keys; `count` is the tensor's Lk, or any bound where keys are paged.
inline int visible(__global const int *lengths, uint b, int i, int queries, int count, int causal) {
  int length = lengths ? clamp(lengths[b], 0, count) : count;
  int aligned = PAGED ? length : count;
  int end = causal == CAUSAL_UPPER_LEFT ? i + 1 : causal == CAUSAL_LOWER_RIGHT ? i + aligned - queries + 1 : length;
  return clamp(end, 0, length);
}

#define ARGUMENTS                                                                                                   \
  __global const X_T *q, ulong q_offset, ulong q_b, ulong q_h, ulong q_i, __global const K_T *keys,                 \
      ulong keys_offset, ulong keys_b, ulong keys_h, ulong keys_j, __global const K_T *values, ulong values_offset, \
      ulong values_b, ulong values_h, ulong values_j, __global const int *lengths, ulong lengths_offset,            \
      __global const int *table, ulong table_offset, uint table_stride, __global X_T *y, ulong y_offset, ulong y_b, \
      ulong y_h, ulong y_i, uint heads, uint group, int queries, int count, float scale, int causal

// Where key j of sequence b and key head h begins, and the step from one of its elements to the next.
#if PAGED
#define KEY_STEP BLOCK
#define CACHE_BLOCK(b, j) ((ulong)table[table_offset + (b)*table_stride + (j) / BLOCK])
#define KEY_AT(b, h, j) ((CACHE_BLOCK(b, j) * (heads / group) + (h)) * (D * BLOCK) + (j) % BLOCK)
#define VALUE_AT(b, h, j) (((CACHE_BLOCK(b, j) * (heads / group) + (h)) * BLOCK + (j) % BLOCK) * DV)
#else
#define KEY_STEP 1
#define KEY_AT(b, h, j) (keys_offset + (b)*keys_b + (h)*keys_h + (j)*keys_j)
#define VALUE_AT(b, h, j) (values_offset + (b)*values_b + (h)*values_h + (j)*values_j)
#endif

__kernel void attention_rows(ARGUMENTS) {
  uint i = get_global_id(0);
  uint h = get_global_id(1);
  uint b = get_global_id(2);
  if (i >= (uint)queries) return;
  q += q_offset + b * q_b + h * q_h + i * q_i;
  y += y_offset + b * y_b + h * y_h + i * y_i;
  if (lengths) lengths += lengths_offset;
  int end = visible(lengths, b, i, queries, count, causal);
  float sums[DV];
  for (uint d = 0; d < DV; ++d) sums[d] = 0.0f;
  float greatest = -INFINITY, denominator = 0.0f;
  for (int j = 0; j < end; ++j) {
    __global const K_T *key = keys + KEY_AT(b, h / group, j);
    float score = 0.0f;
    for (uint d = 0; d < D; ++d) score = fma(X_LOAD(q, d), K_LOAD(key, d * KEY_STEP), score);
    score *= scale;
    float next = fmax(greatest, score);
    float shift = next == -INFINITY ? 0.0f : next;  // −∞ − −∞ is no number
    float old = exp(greatest - shift);
    float p = exp(score - shift);
    greatest = next;
    denominator = fma(denominator, old, p);
    __global const K_T *value = values + VALUE_AT(b, h / group, j);
    for (uint d = 0; d < DV; ++d) sums[d] = fma(p, K_LOAD(value, d), sums[d] * old);
  }
  float norm = denominator == 0.0f ? 0.0f : 1.0f / denominator;
  for (uint d = 0; d < DV; ++d) X_STORE(y, d, denominator == 0.0f ? 0.0f : sums[d] * norm);
}

// ---- prefill on GPUs -------------------------------------------------------------------------------------------------

#define WIDE (D > DV ? D : DV)
#define SIDE 8                        // items per side of the group
#define EACH (TILE / SIDE)            // rows, and keys, of one item
#define COLUMNS ((DV + SIDE - 1) / SIDE)  // elements of a result row held by one item

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void attention_tiled(ARGUMENTS) {
  __local float q_tile[D * TILE];        // [d][row]
  __local float kv_tile[WIDE * TILE];    // keys [d][key], then values [key][d]
  __local float p_tile[TILE * (TILE + 1)];  // [row][key]
  __local float old_scale[TILE], row_max[TILE], row_sum[TILE];
  __local int row_end[TILE];
  uint column = get_local_id(0);
  uint line = get_local_id(1);
  uint item = line * SIDE + column;
  uint h = get_group_id(1);
  uint b = get_group_id(2);
  int first = get_group_id(0) * TILE;
  q += q_offset + b * q_b + h * q_h;
  y += y_offset + b * y_b + h * y_h;
  if (lengths) lengths += lengths_offset;
  for (uint n = item; n < D * TILE; n += SIDE * SIDE) {
    uint row = n / D, d = n % D;
    q_tile[d * TILE + row] = first + (int)row < queries ? scale * X_LOAD(q, (first + row) * q_i + d) : 0.0f;
  }
  for (uint row = item; row < TILE; row += SIDE * SIDE) {
    row_max[row] = -INFINITY;
    row_sum[row] = 0.0f;
    row_end[row] =
        first + (int)row < queries ? visible(lengths, b, first + (int)row, queries, count, causal) : 0;
  }
  float sums[EACH][COLUMNS];
  for (uint r = 0; r < EACH; ++r)
    for (uint c = 0; c < COLUMNS; ++c) sums[r][c] = 0.0f;
  // The last row sees the most keys.
  int end = visible(lengths, b, min(first + TILE, queries) - 1, queries, count, causal);
  for (int from = 0; from < end; from += TILE) {
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint n = item; n < D * TILE; n += SIDE * SIDE) {
      uint key = PAGED ? n % TILE : n / D, d = PAGED ? n / TILE : n % D;
      int j = from + (int)key;
      kv_tile[d * TILE + key] = j < end ? K_LOAD(keys + KEY_AT(b, h / group, j), d * KEY_STEP) : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    float scores[EACH][EACH];
    for (uint r = 0; r < EACH; ++r)
      for (uint k = 0; k < EACH; ++k) scores[r][k] = 0.0f;
    for (uint d = 0; d < D; ++d)
      for (uint r = 0; r < EACH; ++r)
        for (uint k = 0; k < EACH; ++k)
          scores[r][k] = fma(q_tile[d * TILE + line + SIDE * r], kv_tile[d * TILE + column + SIDE * k], scores[r][k]);
    for (uint r = 0; r < EACH; ++r)
      for (uint k = 0; k < EACH; ++k) {
        uint row = line + SIDE * r, key = column + SIDE * k;
        p_tile[row * (TILE + 1) + key] = from + (int)key < row_end[row] ? scores[r][k] : -INFINITY;
      }
    barrier(CLK_LOCAL_MEM_FENCE);
    // One item finishes a row's softmax while all bring in the values.
    for (uint row = item; row < TILE; row += SIDE * SIDE) {
      float greatest = row_max[row];
      for (uint key = 0; key < TILE; ++key) greatest = fmax(greatest, p_tile[row * (TILE + 1) + key]);
      float shift = greatest == -INFINITY ? 0.0f : greatest;
      float old = exp(row_max[row] - shift);
      float total = row_sum[row] * old;
      for (uint key = 0; key < TILE; ++key) {
        float p = exp(p_tile[row * (TILE + 1) + key] - shift);
        p_tile[row * (TILE + 1) + key] = p;
        total += p;
      }
      row_max[row] = greatest;
      row_sum[row] = total;
      old_scale[row] = old;
    }
    for (uint n = item; n < DV * TILE; n += SIDE * SIDE) {
      uint key = n / DV, d = n % DV;
      int j = from + (int)key;
      kv_tile[key * DV + d] = j < end ? K_LOAD(values + VALUE_AT(b, h / group, j), d) : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint r = 0; r < EACH; ++r) {
      uint row = line + SIDE * r;
      float old = old_scale[row];
      int seen = clamp(row_end[row] - from, 0, TILE);  // what a row may not see stays out, finite or not
      for (uint c = 0; c < COLUMNS; ++c) sums[r][c] *= old;
      for (int key = 0; key < seen; ++key) {
        float p = p_tile[row * (TILE + 1) + key];
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
    if (first + (int)row >= queries) continue;
    float denominator = row_sum[row];
    for (uint c = 0; c < COLUMNS; ++c) {
      uint d = column + SIDE * c;
      if (d < DV) X_STORE(y, (first + row) * y_i + d, denominator == 0.0f ? 0.0f : sums[r][c] / denominator);
    }
  }
}

// ---- prefill on CPU devices ------------------------------------------------------------------------------------------

// Keys of one private tile: keys and values of 2048 floats each, 8 KiB, leave room in a first cache of 32 KiB for q, the
// sums (64 B · D each) and the scores; at least 16, a cache block.
#define KEYS (WIDE <= 64 ? 32 : 16)
// Sums held in registers at once while values are added.
#define CHUNK (DV % 16 == 0 ? 16 : DV % 8 == 0 ? 8 : 1)
#if PAGED
#define TILE_KEY(key, d) ((d)*16 + (key))  // within a run of 16 keys
#else
#define TILE_KEY(key, d) ((key)*D + (d))
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attention_blocks(ARGUMENTS) {
  uint h = get_group_id(1);
  uint b = get_group_id(2);
  int first = get_group_id(0) * 16;
  q += q_offset + b * q_b + h * q_h;
  y += y_offset + b * y_b + h * y_h;
  if (lengths) lengths += lengths_offset;
  int rows = min(16, queries - first);

  float lanes[16 * WIDE];  // q and, at the end, the result, turned
  for (uint row = 0; row < 16; ++row)
    for (uint d = 0; d < D; ++d)
      lanes[d * 16 + row] = (int)row < rows ? scale * X_LOAD(q, (first + row) * q_i + d) : 0.0f;
  float16 turned[D];
  for (uint d = 0; d < D; ++d) turned[d] = vload16(d, lanes);
  int row_ends[16];
  for (int row = 0; row < 16; ++row)
    row_ends[row] = row < rows ? visible(lengths, b, first + row, queries, count, causal) : 0;
  int16 ends = vload16(0, row_ends);
  int end = row_ends[rows - 1];  // the last row sees the most keys, the first the fewest
  int all_see = rows == 16 ? row_ends[0] : 0;

  float16 sums[DV];
  for (uint d = 0; d < DV; ++d) sums[d] = 0.0f;
  float16 greatest = -INFINITY, denominator = 0.0f;
  float key_tile[KEYS * D];
  float value_tile[KEYS * DV];
  float16 p[KEYS];
  for (int from = 0; from < end; from += KEYS) {
    int width = min(KEYS, end - from);
    // What no row sees is 0, not read. `finite` decides below whether a masked value could do harm.
    float check = 0.0f;
    for (int key = 0; key < KEYS; ++key) {
      int j = from + key;
      __global const K_T *v = values + (key < width ? VALUE_AT(b, h / group, j) : 0);
#if PAGED
      if (key % 16 == 0) {
        __global const K_T *k = keys + (key < width ? KEY_AT(b, h / group, j) : 0);
        for (uint n = 0; n < D; ++n)
          vstore16(key < width ? K_LOAD16(k, n * 16) : (float16)0.0f, key / 16 * D + n, key_tile);
      }
#else
      __global const K_T *k = keys + (key < width ? KEY_AT(b, h / group, j) : 0);
      for (uint d = 0; d < D; ++d) key_tile[key * D + d] = key < width ? K_LOAD(k, d) : 0.0f;
#endif
      for (uint d = 0; d < DV; ++d) value_tile[key * DV + d] = key < width ? K_LOAD(v, d) : 0.0f;
    }
    bool whole = from + KEYS <= all_see;
    if (!whole)
      for (uint n = 0; n < KEYS * DV; ++n) check += value_tile[n] * 0.0f;  // NaN if anything is not finite

    float16 next = greatest;
    for (uint run = 0; run < KEYS; run += 16) {
      float16 a[16];
#pragma unroll
      for (uint key = 0; key < 16; ++key) a[key] = 0.0f;
      for (uint d = 0; d < D; ++d) {
        float16 t = turned[d];
#pragma unroll
        for (uint key = 0; key < 16; ++key)
          a[key] = fma(t, (float16)key_tile[run * D + TILE_KEY(key, d)], a[key]);
      }
      if (!whole)
        for (uint key = 0; key < 16; ++key) a[key] = select((float16)-INFINITY, a[key], from + (int)(run + key) < ends);
#pragma unroll
      for (uint key = 0; key < 16; ++key) {
        p[run + key] = a[key];
        next = fmax(next, a[key]);
      }
    }
    float16 shift = select(next, (float16)0.0f, next == -INFINITY);
    if (any(next > greatest)) {
      float16 old = exp16(greatest - shift);
      denominator *= old;
      for (uint d = 0; d < DV; ++d) sums[d] *= old;
      greatest = next;
    }
    for (uint key = 0; key < KEYS; ++key) {
      p[key] = exp16(p[key] - shift);
      denominator += p[key];
    }
    if (whole || !isnan(check)) {
      for (uint d = 0; d < DV; d += CHUNK) {
        float16 a[CHUNK];
#pragma unroll
        for (uint n = 0; n < CHUNK; ++n) a[n] = sums[d + n];
        for (uint key = 0; key < KEYS; ++key) {
          float16 t = p[key];
#pragma unroll
          for (uint n = 0; n < CHUNK; ++n) a[n] = fma(t, (float16)value_tile[key * DV + d + n], a[n]);
        }
#pragma unroll
        for (uint n = 0; n < CHUNK; ++n) sums[d + n] = a[n];
      }
    } else {
      for (int key = 0; key < width; ++key)
        for (uint d = 0; d < DV; ++d)
          sums[d] = select(sums[d], fma(p[key], (float16)value_tile[key * DV + d], sums[d]), from + key < ends);
    }
  }
  float16 norm = select(1.0f / denominator, (float16)0.0f, denominator == 0.0f);
  for (uint d = 0; d < DV; ++d) vstore16(select(sums[d] * norm, (float16)0.0f, denominator == 0.0f), d, lanes);
  for (int row = 0; row < rows; ++row)
    for (uint d = 0; d < DV; ++d) X_STORE(y, (first + row) * y_i + d, lanes[d * 16 + row]);
}

// ---- decode: splits of the keys --------------------------------------------------------------------------------------

#if PAGED
// A split's sums, greatest score and denominator; where there is one split, the result itself.
#define PARTIAL(b, h, i, split) (((((ulong)(b)*heads + (h)) * queries + (i)) * splits + (split)) * (DV + 2))

__kernel __attribute__((reqd_work_group_size(SPLIT, 1, 1))) void attention_split(ARGUMENTS, __global float *partial,
                                                                                uint splits) {
  __local float row[D];
  __local float p[SPLIT];
  __local float scratch[SPLIT];
  uint lane = get_local_id(0);
  uint split = get_group_id(0);
  uint key_head = get_group_id(1);
  uint b = get_group_id(2) / queries;
  uint i = get_group_id(2) % queries;
  int end = visible(lengths + lengths_offset, b, i, queries, count, causal);
  int from = split * SPLIT;
  int width = clamp(end - from, 0, SPLIT);
  for (uint n = 0; n < group; ++n) {
    uint h = key_head * group + n;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint d = lane; d < D; d += SPLIT) row[d] = scale * X_LOAD(q, q_offset + b * q_b + h * q_h + i * q_i + d);
    barrier(CLK_LOCAL_MEM_FENCE);
    float score = -INFINITY;
    if ((int)lane < width) {
      __global const K_T *key = keys + KEY_AT(b, key_head, from + (int)lane);
      score = 0.0f;
      for (uint d = 0; d < D; ++d) score = fma(row[d], K_LOAD(key, d * KEY_STEP), score);
    }
    scratch[lane] = score;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_size = SPLIT / 2; half_size > 0; half_size /= 2) {
      if (lane < half_size) scratch[lane] = fmax(scratch[lane], scratch[lane + half_size]);
      barrier(CLK_LOCAL_MEM_FENCE);
    }
    float greatest = scratch[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    p[lane] = (int)lane < width ? exp(score - (greatest == -INFINITY ? 0.0f : greatest)) : 0.0f;
    scratch[lane] = p[lane];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_size = SPLIT / 2; half_size > 0; half_size /= 2) {
      if (lane < half_size) scratch[lane] += scratch[lane + half_size];
      barrier(CLK_LOCAL_MEM_FENCE);
    }
    float denominator = scratch[0];
    __global float *out = partial + PARTIAL(b, h, i, split);
    for (uint d = lane; d < DV; d += SPLIT) {
      float sum = 0.0f;
      for (int key = 0; key < width; ++key)
        sum = fma(p[key], K_LOAD(values + VALUE_AT(b, key_head, from + key), d), sum);
      if (splits == 1)
        X_STORE(y, y_offset + b * y_b + h * y_h + i * y_i + d, denominator == 0.0f ? 0.0f : sum / denominator);
      else
        out[d] = sum;
    }
    if (lane == 0 && splits > 1) {
      out[DV] = greatest;
      out[DV + 1] = denominator;
    }
  }
}

#if DV % 16 == 0
#define VECTORS (DV / 16)
#define AT_ONCE (VECTORS % 4 == 0 ? 4 : VECTORS % 2 == 0 ? 2 : 1)  // vectors of a value held per head: HEADS · 4 ≤ 16

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attention_lanes(ARGUMENTS, __global float *partial,
                                                                            uint splits) {
  uint split = get_group_id(0);
  uint first_head = get_group_id(1) * HEADS;
  uint key_head = first_head / group;
  uint b = get_group_id(2) / queries;
  uint i = get_group_id(2) % queries;
  int end = visible(lengths + lengths_offset, b, i, queries, count, causal);
  int from = split * SPLIT;
  int width = clamp(end - from, 0, SPLIT);

  float row[HEADS][D];
  for (uint n = 0; n < HEADS; ++n)
    for (uint d = 0; d < D; ++d)
      row[n][d] = scale * X_LOAD(q, q_offset + b * q_b + (first_head + n) * q_h + i * q_i + d);
  float16 scores[HEADS][SPLIT / 16];
  float16 lane_max[HEADS];
  for (uint n = 0; n < HEADS; ++n) lane_max[n] = -INFINITY;
  int16 lane_index = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int run = 0; run * 16 < width; ++run) {
    __global const K_T *k = keys + KEY_AT(b, key_head, from + run * 16);
    float16 even[HEADS], odd[HEADS];
    for (uint n = 0; n < HEADS; ++n) even[n] = odd[n] = 0.0f;
    for (uint d = 0; d + 1 < D; d += 2) {
      float16 k0 = K_LOAD16(k, d * 16), k1 = K_LOAD16(k, d * 16 + 16);
      for (uint n = 0; n < HEADS; ++n) {
        even[n] = fma(k0, (float16)row[n][d], even[n]);
        odd[n] = fma(k1, (float16)row[n][d + 1], odd[n]);
      }
    }
    for (uint n = 0; n < HEADS; ++n) {
#if D % 2
      even[n] = fma(K_LOAD16(k, (D - 1) * 16), (float16)row[n][D - 1], even[n]);
#endif
      float16 s = select((float16)-INFINITY, even[n] + odd[n], run * 16 + lane_index < width);
      scores[n][run] = s;
      lane_max[n] = fmax(lane_max[n], s);
    }
  }
  float greatest[HEADS], denominator[HEADS];
  for (uint n = 0; n < HEADS; ++n) {
    greatest[n] = max16(lane_max[n]);
    float shift = greatest[n] == -INFINITY ? 0.0f : greatest[n];
    float16 total = 0.0f;
    for (int run = 0; run * 16 < width; ++run) {
      scores[n][run] = exp16(scores[n][run] - shift);
      total += scores[n][run];
    }
    denominator[n] = sum16(total);
  }
  for (uint vector = 0; vector < VECTORS; vector += AT_ONCE) {
    float16 sums[HEADS][AT_ONCE];
    for (uint n = 0; n < HEADS; ++n)
      for (uint c = 0; c < AT_ONCE; ++c) sums[n][c] = 0.0f;
    for (int key = 0; key < width; ++key) {
      __global const K_T *v = values + VALUE_AT(b, key_head, from + key) + vector * 16;
      for (uint c = 0; c < AT_ONCE; ++c) {
        float16 value = K_LOAD16(v, c * 16);
        for (uint n = 0; n < HEADS; ++n) {
          const float *p = (const float *)scores[n];
          sums[n][c] = fma((float16)(p[key]), value, sums[n][c]);
        }
      }
    }
    for (uint n = 0; n < HEADS; ++n) {
      uint h = first_head + n;
      for (uint c = 0; c < AT_ONCE; ++c) {
        uint d = (vector + c) * 16;
        if (splits == 1)  // divided as attention_merge divides, so that bits do not depend on the number of splits
          X_STORE16(y, y_offset + b * y_b + h * y_h + i * y_i + d,
                    denominator[n] == 0.0f ? (float16)0.0f : sums[n][c] / denominator[n]);
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
}
#endif

// One item per element of y: Σ e^(mₛ − m)·sumsₛ / Σ e^(mₛ − m)·denominatorₛ over the splits.
__kernel void attention_merge(__global const float *partial, __global X_T *y, ulong y_offset, ulong y_b, ulong y_h,
                              ulong y_i, uint heads, uint queries, uint splits) {
  uint d = get_global_id(0);
  uint h = get_global_id(1);
  uint b = get_global_id(2) / queries;
  uint i = get_global_id(2) % queries;
  if (d >= DV) return;
  __global const float *in = partial + PARTIAL(b, h, i, 0);
  float greatest = -INFINITY;
  for (uint split = 0; split < splits; ++split) greatest = fmax(greatest, in[split * (DV + 2) + DV]);
  float shift = greatest == -INFINITY ? 0.0f : greatest;
  float sum = 0.0f, denominator = 0.0f;
  for (uint split = 0; split < splits; ++split, in += DV + 2) {
    float weight = exp(in[DV] - shift);
    sum = fma(weight, in[d], sum);
    denominator = fma(weight, in[DV + 1], denominator);
  }
  X_STORE(y, y_offset + b * y_b + h * y_h + i * y_i + d, denominator == 0.0f ? 0.0f : sum / denominator);
}
#endif
