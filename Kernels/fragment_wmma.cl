// Fragments as AMD's RDNA 3 holds them: __builtin_amdgcn_wmma_f32_16x16x16_*_w32. See fragment.cl for what the names mean.
//
// A wave is 32 lanes. Each half of it holds all of A and of B; the instruction's C has column lane % 16 and rows 2e + lane / 16. It
// is given our B, turned, for its A, and our A, turned, for its B, so that a lane has pieces of one row. With l = lane % 16:
//   a[w] = A[l][2w, 2w + 1]     b[w] = B[2w, 2w + 1][l]     c[e] = C[l][2e + lane / 16]
// Instructions: HAS_WAVE_MATRIX, which is the lanes of a wave.

#define COPIES 2
#define A_K(lane, w) (2 * (w))
#define B_ACROSS 0
#define B_K(lane, w) (2 * (w))
#define B_COLUMN(lane, w) ((lane) % 16)
#define A_LANE(row, k) (row)
#define A_WORD(row, k) ((k) / 2)
#define B_LANE(k, column) (column)
#define B_WORD(k, column) ((k) / 2)
#define LANE_ROWS 1
#define SHARERS 2
#define SHARER_STEP 16
#define LANE_ROW(e) 0
#define ROW_OF(lane, r) ((lane) % 16)
#define FRAGMENT_COLUMN(lane, e) (2 * (e) + (lane) / 16)

#if HAS_WAVE_MATRIX == 32
#define MATRIX_UNIT
#if IS_F16
#define WAVE_MULTIPLY(a, b, c) __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(as_half16(a), as_half16(b), c)
#else
#define WAVE_MULTIPLY(a, b, c) __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(as_short16(a), as_short16(b), c)
#endif
INLINE void wmma_multiply(float *c, const uint *a, const uint *b) {
  vstore8(WAVE_MULTIPLY(vload8(0, b), vload8(0, a), vload8(0, c)), 0, c);
}
#define UNIT_MULTIPLY wmma_multiply
// A lane is named by its number in bytes of words.
INLINE uint wave_other(uint x, const uint distance) {
  return __builtin_amdgcn_ds_bpermute((get_local_id(0) % LANES ^ distance) * 4, x);
}
#define UNIT_OTHER wave_other
#endif
