// Fragments as AMD's CDNA 2 and 3 hold them: __builtin_amdgcn_mfma_f32_16x16x16*. See fragment.cl for what the names mean.
//
// A wave is 64 lanes. The instruction's C has column lane % 16 and rows 4 · (lane / 16) + e. It is given our B, turned, for its A, and
// our A, turned, for its B, so that a lane has pieces of one row. With l = lane % 16 and t = lane / 16:
//   a[w] = A[l][4t + 2w, 4t + 2w + 1]     b[w] = B[4t + 2w, 4t + 2w + 1][l]     c[e] = C[l][4t + e]
// Instructions: HAS_WAVE_MATRIX, which is the lanes of a wave.

#define COPIES 1
#define A_K(lane, w) ((lane) / 16 * 4 + 2 * (w))
#define B_ACROSS 0
#define B_K(lane, w) ((lane) / 16 * 4 + 2 * (w))
#define B_COLUMN(lane, w) ((lane) % 16)
#define A_LANE(row, k) ((row) + (k) / 4 * 16)
#define A_WORD(row, k) ((k) % 4 / 2)
#define B_LANE(k, column) ((column) + (k) / 4 * 16)
#define B_WORD(k, column) ((k) % 4 / 2)
#define LANE_ROWS 1
#define SHARERS 4
#define SHARER_STEP 16
#define LANE_ROW(e) 0
#define ROW_OF(lane, r) ((lane) % 16)
#define FRAGMENT_COLUMN(lane, e) ((lane) / 16 * 4 + (e))

#if HAS_WAVE_MATRIX == 64
#define MATRIX_UNIT
#if IS_F16
#define WAVE_MULTIPLY(a, b, c) __builtin_amdgcn_mfma_f32_16x16x16f16(as_half4(a), as_half4(b), c, 0, 0, 0)
#else
#define WAVE_MULTIPLY(a, b, c) __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(as_short4(a), as_short4(b), c, 0, 0, 0)
#endif
INLINE void mfma_multiply(float *c, const uint *a, const uint *b) {
  vstore4(WAVE_MULTIPLY(vload2(0, b), vload2(0, a), vload4(0, c)), 0, c);
}
#define UNIT_MULTIPLY mfma_multiply
// A lane is named by its number in bytes of words.
INLINE uint wave_other(uint x, const uint distance) {
  return __builtin_amdgcn_ds_bpermute((get_local_id(0) % LANES ^ distance) * 4, x);
}
#define UNIT_OTHER wave_other
#endif
