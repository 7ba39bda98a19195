// attention: y = softmax(scores(q, k) that take part) · v, the scores never leave the kernel
//
// operand   shape              storage
// q         [B, Hq, Lq, D]     Q_TYPE; strides of b, h and i are arguments, as for y
// keys      [B, Hkv, Lk, D]    K_TYPE; strides of b, h and j; or PAGED: [pages, PAGE / 16, Hkv, D, 16]: transposed by sixteens
// values    [B, Hkv, Lk, Dv]   K_TYPE; likewise; or PAGED: [pages, PAGE / 16, Hkv, 16, Dv]
// scales    [pages, PAGE / 16, Hkv, D / 32 or Dv / 32, 16]  f16; of keys and of values, K_TYPE q8_0 alone
// lengths   [B]                i32; keys of each sequence, may be absent (null) where keys are dense
// table     [B, table_stride]  i32; PAGED: page of keys PAGE·n … PAGE·n + PAGE − 1
// starts    [B + 1]            i32; where a sequence's rows, or keys, begin: ragged calls, else null
// y         [B, Hq, Lq, Dv]    X_TYPE
// lse       [B, Hq, Lq]        f32; ln of the softmax's denominator, may be null
//
// Query head h reads key head h / group. A row sees one run of keys (keys_of: causal masks, windows, lengths), and of these
// what `kept` keeps. A row without keys is 0. Keys and values outside of the run, or in tiles wholly masked, are not read;
// those in a partly masked tile cannot change the result: what takes no part weighs −0, which adds nothing to a sum, and
// where a value is not finite the sign tells to leave it out.
//
// The terms of a call (what AttentionOptions adds to scaled products and runs of keys) stand before this file as text:
//   TERMS_ARGUMENTS, TERMS   the operands they read, each with a leading comma: as declared, and as passed on
//   HAS_KEEP    int kept(b, h, i, j, p TERMS)                 how often key j counts for row i; p = i + Lk − Lq
//   HAS_SCORE   float scored(score, scale, b, h, i, j, p TERMS)  what becomes of a score
//   HAS_WEIGHT  float weighed(b, h, i, j TERMS)               factor of a weight after the softmax
//   kept16, scored16, weighed16                              the same of sixteen rows at once: i, p and score are vectors
//   HAS_SINK    t_sinks[t_sinks_at + h]                       e^sink joins the denominator
//   HAS_VALUE   t_pv …                                        relative values, by attention_rows alone
//
// This file is what all strategies share; a file a strategy, attention_rows.cl (any device), _tiled and _split (GPUs), _blocks
// and _lanes (CPU devices), _matrix (matrix units); attention_weights.cl shows the weights.
// Defines: D, DV, head sizes; APPENDS 0|1, the kernel writes the cache too; X_TYPE, Q_TYPE, K_TYPE storages; PAGED 0|1; PAGE, keys
// of a page; QUANTISED 0|1, K_TYPE is q8_0; KIND 0 product, 1 Gaussian, 2 additive; TILE, keys of a tile; LISTED 0|1. Reference: Attention.compute. Cases: AttentionCases.

#ifndef D
#define D 64
#endif
#ifndef DV
#define DV D
#endif
#ifndef Q_TYPE
#define Q_TYPE X_TYPE
#endif
#ifndef K_TYPE
#define K_TYPE X_TYPE
#endif
#ifndef PAGED
#define PAGED 0
#endif
#ifndef KIND
#define KIND 0
#endif
#ifndef PAGE
#define PAGE 16
#endif
#ifndef QUANTISED
#define QUANTISED 0
#endif
#ifndef TERMS_ARGUMENTS
#define TERMS_ARGUMENTS
#define TERMS
#endif
#ifndef HAS_KEEP
#define HAS_KEEP 0
#endif
#ifndef HAS_SCORE
#define HAS_SCORE 0
#endif
#ifndef HAS_WEIGHT
#define HAS_WEIGHT 0
#endif
#ifndef HAS_SINK
#define HAS_SINK 0
#endif
#ifndef HAS_VALUE
#define HAS_VALUE 0
#endif
#ifndef APPENDS
#define APPENDS 0
#endif
#if APPENDS
#define CACHED
#else
#define CACHED const
#endif

#define Q_T JOIN(Q_TYPE, _t)
#define Q_LOAD(p, i) JOIN(load_, Q_TYPE)(p, i)
#define K_T JOIN(K_TYPE, _t)

#define ARGUMENTS                                                                                                   \
  __global const Q_T *q, ulong q_offset, ulong q_b, ulong q_h, ulong q_i, __global CACHED K_T *keys,                \
      ulong keys_offset, ulong keys_b, ulong keys_h, ulong keys_j, __global CACHED K_T *values,                     \
      ulong values_offset, ulong values_b, ulong values_h, ulong values_j, __global CACHED half *key_scales,        \
      __global CACHED half *value_scales, __global const int *lengths, ulong lengths_offset,                        \
      __global const int *table, ulong table_offset, uint table_stride, uint limit,                                 \
      __global const int *query_starts, ulong query_starts_offset, int query_total,                                 \
      __global const int *key_starts, ulong key_starts_offset, __global X_T *y, ulong y_offset, ulong y_b,          \
      ulong y_h, ulong y_i, __global float *lse, ulong lse_offset, ulong lse_b, ulong lse_h, ulong lse_i,           \
      uint heads, uint group, int queries, int count, float scale, int left, int right, int upper_left              \
          TERMS_ARGUMENTS

#define ARGUMENTS_PASSED                                                                                           \
  q, q_offset, q_b, q_h, q_i, keys, keys_offset, keys_b, keys_h, keys_j, values, values_offset, values_b, values_h,  \
      values_j, key_scales, value_scales, lengths, lengths_offset, table, table_offset, table_stride, limit,         \
      query_starts, query_starts_offset, query_total, key_starts, key_starts_offset, y, y_offset, y_b, y_h, y_i, lse, \
      lse_offset, lse_b, lse_h, lse_i, heads, group, queries, count, scale, left, right, upper_left TERMS

// One sequence of the call.
typedef struct {
  int queries;       // its rows
  int keys;          // Lk of the masks' formulas
  int count;         // keys j < count exist
  uint q_row, k_row;  // where its rows and keys begin: ragged calls
} Sequence;

inline Sequence sequence_of(uint b, int queries, int count, uint limit, __global const int *lengths,
                            __global const int *query_starts, int query_total, __global const int *key_starts) {
  Sequence s;
  s.queries = queries;
  s.keys = s.count = count;
  s.q_row = s.k_row = 0;
  // A start beyond the tensor would be read beyond it: the host cannot see these numbers.
  if (query_starts) {
    s.q_row = clamp(query_starts[b], 0, query_total);
    s.queries = clamp(query_starts[b + 1], (int)s.q_row, query_total) - (int)s.q_row;
    s.queries = min(s.queries, queries);
  }
  if (key_starts) {
    s.k_row = clamp(key_starts[b], 0, (int)limit);
    s.keys = s.count = min(clamp(key_starts[b + 1], (int)s.k_row, (int)limit) - (int)s.k_row, count);
  }
  if (lengths) s.count = clamp(lengths[b], 0, count);
  if (PAGED) s.keys = s.count;
  return s;
}
#define SEQUENCE(b)                                                                                             \
  sequence_of(b, queries, count, limit, lengths ? lengths + lengths_offset : lengths,                           \
              query_starts ? query_starts + query_starts_offset : query_starts, query_total,                    \
              key_starts ? key_starts + key_starts_offset : key_starts)

// The run of keys that row i sees, first and one past the last.
inline int2 keys_of(int i, Sequence s, int left, int right, int upper_left) {
  int p = i + s.keys - s.queries;
  int end = max(0, min(s.count, p + right + 1));
  if (upper_left) end = min(end, i + 1);
  if (i >= s.queries) end = 0;
  return (int2)(clamp(p - left, 0, end), end);
}
#define KEYS_OF(i, s) keys_of(i, s, left, right, upper_left)

// Where key j of sequence b and key head h begins, the step from one of its elements to the next, and from a value to the
// next within a run of sixteen.
#if PAGED
#define KEY_STEP 16
#define VALUE_STEP DV
#define RUN(b, j) \
  ((ulong)min((uint)table[table_offset + (b)*table_stride + (j) / PAGE], limit - 1) * (PAGE / 16) + (j) % PAGE / 16)
#define KEY_AT(b, h, j) ((RUN(b, j) * (heads / group) + (h)) * (D * 16) + (j) % 16)
#define VALUE_AT(b, h, j) (((RUN(b, j) * (heads / group) + (h)) * 16 + (j) % 16) * DV)
#else
#define KEY_STEP 1
#define VALUE_STEP values_j
#define KEY_AT(b, h, j) (keys_offset + (b)*keys_b + (h)*keys_h + (s.k_row + (ulong)(j)) * keys_j)
#define VALUE_AT(b, h, j) (values_offset + (b)*values_b + (h)*values_h + (s.k_row + (ulong)(j)) * values_j)
#endif

// Element d of the key, or value, at `at`; sixteen keys' element d; sixteen elements of one value. Scales lie as [run and
// head, block of ALIKE elements, 16 keys]: *_SCALES are those of a run's sixteen keys, and what KEY16 and VALUE16 take.
#if QUANTISED
#define ALIKE 32
#define KEY_SCALES(run, d) vload_half16((run) / 16 / ALIKE + (d) / ALIKE, key_scales)
#define VALUE_SCALES(run, d) vload_half16((run) / 16 / ALIKE + (d) / ALIKE, value_scales)
#define KEY_SCALE(at, d) vload_half(((at) / 16 / ALIKE + (d) / ALIKE) * 16 + (at) % 16, key_scales)
#define VALUE_SCALE(at, d) \
  vload_half(((at) / DV / 16 * (DV / ALIKE) + (d) / ALIKE) * 16 + (at) / DV % 16, value_scales)
#define KEY(at, d) (KEY_SCALE(at, d) * keys[(at) + (d)*KEY_STEP])
#define VALUE(at, d) (VALUE_SCALE(at, d) * values[(at) + (d)])
#define KEY16(at, d, scales) ((scales) * convert_float16(vload16(0, keys + (at) + (d)*16)))
#define VALUE16(at, d, scale) ((scale) * convert_float16(vload16(0, values + (at) + (d))))
#else
#define ALIKE D
#define KEY_SCALES(run, d) 1.0f
#define VALUE_SCALES(run, d) 1.0f
#define KEY(at, d) JOIN(load_, K_TYPE)(keys, (at) + (d)*KEY_STEP)
#define VALUE(at, d) JOIN(load_, K_TYPE)(values, (at) + (d))
#define KEY16(at, d, scales) JOIN(load16_, K_TYPE)(keys, (at) + (d)*16)
#define VALUE16(at, d, scale) JOIN(load16_, K_TYPE)(values, (at) + (d))
#endif

// A score is a sum over the elements of q and k, one vector of rows or keys at a time: scale · Σ q·k, with the scale in q
// already; scale · Σ −½(q − k)²; scale · Σ w·tanh(q + k).
#if KIND == 0
#define Q_SCALED(x) (scale * (x))
#define SCORE(sum) (sum)
#define ADD_TERM(sum, q, k, d) fma(q, k, sum)
#else
#define Q_SCALED(x) (x)
#define SCORE(sum) (scale * (sum))
#if KIND == 1
#define ADD_TERM(sum, q, k, d) (sum - 0.5f * ((q) - (k)) * ((q) - (k)))
#else
#define ADD_TERM(sum, q, k, d) (sum + t_score[t_score_at + (d)] * tanh((q) + (k)))
#endif
#endif

#if HAS_KEEP
#define KEPT(b, h, i, j, s) kept(b, h, i, j, (i) + s.keys - s.queries TERMS)
#else
#define KEPT(b, h, i, j, s) 1
#endif
#if HAS_SCORE
#define SCORED(x, b, h, i, j, s) scored(x, scale, b, h, i, j, (i) + s.keys - s.queries TERMS)
#else
#define SCORED(x, b, h, i, j, s) (x)
#endif
#if HAS_WEIGHT
#define WEIGHED(b, h, i, j) weighed(b, h, i, j TERMS)
#else
#define WEIGHED(b, h, i, j) 1.0f
#endif
#if HAS_SINK
#define SINK(h) t_sinks[t_sinks_at + (h)]
#else
#define SINK(h) (-INFINITY)
#endif
// The maximum that a score is compared with: −∞ − −∞ is no number.
#define SHIFT(greatest) ((greatest) == -INFINITY ? 0.0f : (greatest))
#define LSE(greatest, denominator) ((denominator) == 0.0f ? -INFINITY : (greatest) + log(denominator))

// In prefill, keys are visited in tiles at multiples of TILE. Where the mask is more than a run of keys and its tiles are known to
// the host, LISTED is 1 and rows' tile t visits tiles[starts[t]] … tiles[starts[t + 1] − 1]: twice the tile's number, plus 1
// where the pattern keeps all of it.
#ifndef TILE
#define TILE 32
#endif
#ifndef LISTED
#define LISTED 0
#endif

#if LISTED
#define LIST_ARGUMENTS , __global const int *starts, __global const int *tiles
#define EACH_TILE(number) \
  for (int entry = starts[number], from = 0; entry < starts[(number) + 1] && (from = tiles[entry] / 2 * TILE, 1); ++entry)
#define PATTERN_KEEPS_ALL (tiles[entry] & 1)
#define OUTSIDE (from + TILE <= begin || from >= end)
#else
#define LIST_ARGUMENTS
#define EACH_TILE(number) for (int from = begin / TILE * TILE; from < end; from += TILE)
#define PATTERN_KEEPS_ALL (!HAS_KEEP)
#define OUTSIDE 0
#endif
