/// Probes for what NVIDIA's OpenCL takes as inline PTX alone; Kernels/fragment_mma.cl says which lane of a warp holds what.
extension Capabilities {
  static let inlinePTX: [Probe] = [
    matrix("mma-m16n8k16", "f16") { $0.matrixM16N8K16 = true },
    matrix("mma-m16n8k16-bf16", "bf16") { $0.matrixM16N8K16BFloat = true },
    // Element (row, column) of a tile is 16·row + column, rows are 24 elements apart; four pieces of 8 × 8, as it lies and
    // turned.
    probe("ldmatrix", { $0.matrixLoads = true }) {
      """
      local uint tiles[2][16 * 12] __attribute__((aligned(16)));
      const int lane = item % 32, g = lane / 4, t = lane % 4;
      for (int n = lane; n < 128; n += 32) {
        const uint first = n / 8 * 16 + n % 8 * 2;
        tiles[item / 32][n / 8 * 12 + n % 8] = first | (first + 1) << 16;
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      const uint place = (uint)(size_t)(tiles[item / 32] + lane % 16 * 12 + lane / 16 * 4);
      uint plain[4], turned[4];
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(plain[0]), "=r"(plain[1]), "=r"(plain[2]), "=r"(plain[3]) : "r"(place) : "memory");
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(turned[0]), "=r"(turned[1]), "=r"(turned[2]), "=r"(turned[3]) : "r"(place) : "memory");
      bool right = true;
      for (int r = 0; r < 4; ++r) {
        const uint a = (g + r % 2 * 8) * 16 + 2 * t + r / 2 * 8;
        const uint b = (2 * t + r % 2 * 8) * 16 + g + r / 2 * 8;
        right &= plain[r] == (a | (a + 1) << 16) && turned[r] == (b | (b + 16) << 16);
      }
      out[item] = right ? item : -1;
      """
    },
    probe("cp-async", { $0.asynchronousCopies = true }) {
      """
      local int tile[64] __attribute__((aligned(16)));
      out[item] = 1000 + item;
      tile[item] = 0;
      barrier(CLK_GLOBAL_MEM_FENCE | CLK_LOCAL_MEM_FENCE);
      if (item % 4 == 0)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
          : : "r"((uint)(size_t)(tile + item)), "l"(out + item) : "memory");
      asm volatile("cp.async.commit_group;" : : : "memory");
      asm volatile("cp.async.wait_group 0;" : : : "memory");
      barrier(CLK_LOCAL_MEM_FENCE);
      out[item] = tile[item] == 1000 + item ? item : -1;
      """
    },
    probe("membar", { $0.membar = true }) {
      """
      asm volatile("membar.gl;" : : : "memory");
      out[item] = item;
      """
    },
    probe("warp-shuffle", { $0.warpShuffle = true }) {
      """
      float one, two;
      asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(one) : "f"((float)item), "r"(1));
      asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(two) : "f"((float)item), "r"(2));
      out[item] = one == (item ^ 1) && two == (item ^ 2) ? item : -1;
      """
    },
    Probe(
      name: "module", worthTrying: isNVIDIA, assume: { $0.modules = true },
      body: """
        .version 6.0
        .target sm_50
        .address_size 64
        .entry probe(.param .u64 .ptr .global .align 4 probe_param_0)
        {
          .reg .b32 %r<2>;
          .reg .b64 %rd<4>;
          ld.param.u64 %rd1, [probe_param_0];
          mov.u32 %r1, %tid.x;
          mul.wide.u32 %rd2, %r1, 4;
          add.s64 %rd3, %rd1, %rd2;
          st.global.u32 [%rd3], %r1;
          ret;
        }
        """, isModule: true),
    // Every item has a word in each KiB, so that no two may share one.
    Probe(
      name: "local-memory",
      worthTrying: { device, known in isNVIDIA(device, known) && device.localMemory < 64 << 10 },
      assume: { $0.moreLocalMemory = true },
      body: """
        for (int n = 0; n < 256; ++n) memory[64 * n + item] = 1000 * n + item;
        barrier(CLK_LOCAL_MEM_FENCE);
        bool right = true;
        for (int n = 0; n < 256; ++n) right &= memory[64 * n + 63 - item] == 1000 * n + 63 - item;
        out[item] = right ? item : -1;
        """, localBytes: 64 << 10),
  ]

  private static let isNVIDIA: @Sendable (Device, Capabilities) -> Bool = { device, _ in
    device.quirks.contains(.inlinePTX)
  }

  private static func probe(
    _ name: String, _ assume: @escaping @Sendable (inout Capabilities) -> Void, _ body: () -> String
  ) -> Probe {
    Probe(name: name, worthTrying: isNVIDIA, assume: assume, body: body())
  }

  /// C = A · B + ½ with A[i][k] = (3i + 5k) mod 16 and B[k][j] = (7k + 3j) mod 8: whole numbers that both types hold, no two
  /// neighbours alike, so that no register and no half of one can change places unnoticed.
  private static func matrix(
    _ name: String, _ type: String, _ assume: @escaping @Sendable (inout Capabilities) -> Void
  ) -> Probe {
    probe(name, assume) {
      """
      #define PAIR(word, low, high) \\
        asm volatile("cvt.rn.\(type)x2.f32 %0, %1, %2;" : "=r"(word) : "f"((float)(high)), "f"((float)(low)))
      #define A(i, k) ((3 * (i) + 5 * (k)) % 16)
      #define B(k, j) ((7 * (k) + 3 * (j)) % 8)
      const int lane = item % 32, g = lane / 4, t = lane % 4;
      uint a[4], b[2];
      float c[4] = {0.5f, 0.5f, 0.5f, 0.5f};
      for (int r = 0; r < 4; ++r) {
        const int i = g + r % 2 * 8, k = 2 * t + r / 2 * 8;
        PAIR(a[r], A(i, k), A(i, k + 1));
        if (r < 2) PAIR(b[r], B(2 * t + 8 * r, g), B(2 * t + 8 * r + 1, g));
      }
      asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.\(type).\(type).f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
      bool right = true;
      for (int e = 0; e < 4; ++e) {
        int sum = 0;
        for (int k = 0; k < 16; ++k) sum += A(g + e / 2 * 8, k) * B(k, 2 * t + e % 2);
        right &= c[e] == sum + 0.5f;
      }
      out[item] = right ? item : -1;
      """
    }
  }
}
