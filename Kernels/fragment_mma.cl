// Fragments as NVIDIA's units hold them: mma.m16n8k16, twice side by side. See fragment.cl for what the names mean.
//
// A warp is 32 lanes. With g = lane / 4 and t = lane % 4:
//   A   a[0] = A[g][2t, 2t + 1]    a[1] = A[g + 8][2t, 2t + 1]    a[2] = A[g][2t + 8, 2t + 9]    a[3] = A[g + 8][2t + 8, 2t + 9]
//   B   b[0] = B[2t, 2t + 1][g]    b[1] = B[2t + 8, 2t + 9][g]    b[2] and b[3] the same of column g + 8
//   C   c[0, 1] = C[g][2t, 2t + 1], c[2, 3] = C[g + 8][2t, 2t + 1], and c[4] to c[7] the same of columns 2t + 8 and 2t + 9
// Instructions by inline PTX: HAS_MMA_M16N8K16 for f16, …_BF16; HAS_LDMATRIX, HAS_CP_ASYNC, HAS_WARP_SHUFFLE.

#define COPIES 1
#define A_K(lane, w) ((lane) % 4 * 2 + (w) / 2 * 8)
#define B_ACROSS 0
#define B_K(lane, w) ((lane) % 4 * 2 + (w) % 2 * 8)
#define B_COLUMN(lane, w) ((lane) / 4 + (w) / 2 * 8)
#define A_LANE(row, k) ((row) % 8 * 4 + (k) % 8 / 2)
#define A_WORD(row, k) ((row) / 8 + (k) / 8 * 2)
#define B_LANE(k, column) ((column) % 8 * 4 + (k) % 8 / 2)
#define B_WORD(k, column) ((k) / 8 + (column) / 8 * 2)
#define LANE_ROWS 2
#define SHARERS 4
#define SHARER_STEP 1
#define LANE_ROW(e) ((e) / 2 % 2)
#define ROW_OF(lane, r) ((lane) / 4 + (r) * 8)
#define FRAGMENT_COLUMN(lane, e) ((lane) % 4 * 2 + (e) / 4 * 8 + (e) % 2)

#if IS_F16 && defined(HAS_MMA_M16N8K16)
#define MATRIX_UNIT "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
#define PACKING "cvt.rn.f16x2.f32"
#elif !IS_F16 && defined(HAS_MMA_M16N8K16_BF16)
#define MATRIX_UNIT "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
#define PACKING "cvt.rn.bf16x2.f32"
#endif

#ifdef MATRIX_UNIT
// Eight columns of B and of C.
INLINE void mma_eight(float *c, const uint *a, const uint *b) {
  asm volatile(MATRIX_UNIT " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
INLINE void mma_multiply(float *c, const uint *a, const uint *b) {
  mma_eight(c, a, b);
  mma_eight(c + 4, a, b + 2);
}
#define UNIT_MULTIPLY mma_multiply
INLINE uint packed_word(float low, float high) {
  uint word;
  asm(PACKING " %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
#define UNIT_WORD packed_word
// Within 2 ulp here, and one instruction.
#define UNIT_EXP2 native_exp2
#endif

// The address of shared memory as PTX wants it.
#define SHARED_ADDRESS(p) ((uint)(size_t)(p))

#ifdef HAS_LDMATRIX
#define LDMATRIX(r, kind, p)                                                        \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4" kind ".shared.b16 {%0,%1,%2,%3}, [%4];" \
               : "=r"((r)[0]), "=r"((r)[1]), "=r"((r)[2]), "=r"((r)[3])             \
               : "r"(SHARED_ADDRESS(p))                                             \
               : "memory")
#define UNIT_A(a, tile, stride, lane) LDMATRIX(a, "", (tile) + (lane) % 16 * (stride) + (lane) / 16 * 4)
#define UNIT_B(b, tile, stride, lane) \
  LDMATRIX(b, "", (tile) + ((lane) % 8 + (lane) / 16 * 8) * (stride) + (lane) / 8 % 2 * 4)
#define UNIT_B_TURNED(b, tile, stride, lane) LDMATRIX(b, ".trans", (tile) + (lane) % 16 * (stride) + (lane) / 16 * 4)
#endif

#ifdef HAS_WARP_SHUFFLE
INLINE uint warp_other(uint x, const uint distance) {
  uint y;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(y) : "r"(x), "r"(distance));
  return y;
}
#define UNIT_OTHER warp_other
#endif

#ifdef HAS_CP_ASYNC
#define UNIT_COPY(to, from) \
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(SHARED_ADDRESS(to)), "l"(from) : "memory")
#define copies_commit() asm volatile("cp.async.commit_group;" : : : "memory")
#define copies_arrived(later) asm volatile("cp.async.wait_group " #later ";" : : : "memory")
#endif
