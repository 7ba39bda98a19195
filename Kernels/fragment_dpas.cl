// Fragments as Intel's units hold them: intel_sub_group_*_matrix_mad_k16 of 8 rows, by sub-groups of 16 (Xe2, Ponte Vecchio) or of 8
// (Arc A). See fragment.cl for what the names mean.
//
// The function makes C [8 × LANES] += A [8 × 16] · B [16 × LANES], and its lanes are columns: lane l has B[..][l] and C[..][l] whole,
// and one of A's k or, of 8 lanes, two. So it is given our B, turned, for its A, and our A, turned, for its B: lanes are rows, and
// what belongs to a row never leaves its lane.
//   LANES 16: a[w] = A[l][2w, 2w + 1]                           c[e] = C[l][e]
//             b[w] = B[l][2w, 2w + 1]: two columns of one k
//   LANES  8: a[w] = A[l + w / 8 · 8][2w % 16, 2w % 16 + 1]     c[e] = C[l + e / 16 · 8][e % 16]
//             b[w] = B[2l, 2l + 1][w]
// Instructions: HAS_SUBGROUP_MATRIX, which is the sub-group's size.

#define COPIES 1
#define A_K(lane, w) ((w) % 8 * 2)
#define SHARERS 1
#define SHARER_STEP 1
#define FRAGMENT_COLUMN(lane, e) ((e) % 16)
#define LANE_ROWS (16 / LANES)
#define LANE_ROW(e) ((e) / 16)
#define ROW_OF(lane, r) ((lane) + 8 * (r))
#define A_LANE(row, k) ((row) % LANES)
#define A_WORD(row, k) ((row) / LANES * 8 + (k) / 2)
#if LANES == 16
#define B_ACROSS 1
#define B_K(lane, w) (lane)
#define B_COLUMN(lane, w) (2 * (w))
#define B_LANE(k, column) (k)
#define B_WORD(k, column) ((column) / 2)
#else
#define B_ACROSS 0
#define B_K(lane, w) (2 * (lane))
#define B_COLUMN(lane, w) (w)
#define B_LANE(k, column) ((k) / 2)
#define B_WORD(k, column) (column)
#endif

#if HAS_SUBGROUP_MATRIX == LANES
#define MATRIX_UNIT
#define UNIT_KERNEL __attribute__((intel_reqd_sub_group_size(LANES)))
#if IS_F16
#define MATRIX_MAD intel_sub_group_f16_f16_matrix_mad_k16
#else
#define MATRIX_MAD intel_sub_group_bf16_bf16_matrix_mad_k16
#endif
#if LANES == 16
#define EIGHT_COLUMNS(b, n) as_short8(vload4(n, b))
#else
#define EIGHT_COLUMNS(b, n) as_int8(vload8(n, b))
#endif
INLINE void dpas_multiply(float *c, const uint *a, const uint *b) {
  // Eight columns at a time, of 8 or 16 rows.
  _Pragma("unroll") for (uint n = 0; n < 32 / LANES; ++n)
    vstore8(MATRIX_MAD(EIGHT_COLUMNS(b, n % 2), as_int8(vload8(n / 2, a)), vload8(n, c)), n, c);
}
#define UNIT_MULTIPLY dpas_multiply
#endif
