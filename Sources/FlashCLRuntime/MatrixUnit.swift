/// The matrix units that kernels know: how their lanes hold the pieces of a product differs (Kernels/fragment_*.cl).
public enum MatrixUnit: String, Sendable, CaseIterable {
  /// NVIDIA's, from Ampere on: PTX `mma.m16n8k16`.
  case mma
  /// Intel's by sub-groups of 16 (Xe2, Ponte Vecchio) and of 8 (Arc A): `intel_sub_group_…_matrix_mad_k16`.
  case dpas16, dpas8
  /// AMD's of RDNA 3: `__builtin_amdgcn_wmma_f32_16x16x16_…_w32`.
  case wmma
  /// AMD's of CDNA 2 and 3: `__builtin_amdgcn_mfma_f32_16x16x16…`.
  case mfma

  /// Items that work together.
  public var lanes: Int {
    switch self {
    case .mma, .wmma: 32
    case .dpas16: 16
    case .dpas8: 8
    case .mfma: 64
    }
  }
}

/// Probes for the units of Intel and AMD; those of NVIDIA are PTX. What a lane holds is told here as the makers tell it, apart from
/// the kernels.
extension Capabilities {
  // Of 8 first, which devices that are made for 16 refuse.
  static let subgroupUnits = [
    subgroupUnit(
      .dpas8, a: Piece(16, row: "e / 2", column: "2 * lane + e % 2", as: "as_int8"),
      b: Piece(16, row: "e", column: "lane", as: "as_int8")),
    subgroupUnit(
      .dpas16, a: Piece(8, row: "e", column: "lane", as: "as_short8"),
      b: Piece(16, row: "e", column: "lane", as: "as_int8")),
  ]

  static let waveUnits = [
    waveUnit(
      .wmma, a: Piece(16, row: "lane % 16", column: "e"), b: Piece(16, row: "e", column: "lane % 16"),
      c: Piece(8, row: "2 * e + lane / 16", column: "lane % 16"),
      functions: ["wmma_f32_16x16x16_f16_w32", "wmma_f32_16x16x16_bf16_w32"], controls: ""),
    waveUnit(
      .mfma, a: Piece(4, row: "lane % 16", column: "lane / 16 * 4 + e"),
      b: Piece(4, row: "lane / 16 * 4 + e", column: "lane % 16"),
      c: Piece(4, row: "lane / 16 * 4 + e", column: "lane % 16"),
      functions: ["mfma_f32_16x16x16f16", "mfma_f32_16x16x16bf16_1k"], controls: ", 0, 0, 0"),
  ]

  private static func subgroupUnit(_ unit: MatrixUnit, a: Piece, b: Piece) -> Probe {
    let c = Piece(8, row: "e", column: "lane")
    var probe = Probe(
      name: "matrix-\(unit)",
      worthTrying: { device, known in
        known.subgroupMatrix == 0 && device.mayHaveSubgroups(of: unit.lanes)
          && device.extensions.isSuperset(of: [
            "cl_intel_subgroup_matrix_multiply_accumulate", "cl_intel_required_subgroup_size",
          ])
      },
      assume: { $0.subgroupMatrix = unit.lanes },
      body: """
        const int lane = item % \(unit.lanes);
        bool right = get_sub_group_local_id() == lane;
        \(product("f16", a, b, c) { "intel_sub_group_f16_f16_matrix_mad_k16(\($0), \($1), c)" })
        \(product("bf16", a, b, c) { "intel_sub_group_bf16_bf16_matrix_mad_k16(\($0), \($1), c)" })
        out[item] = right ? item : -1;
        """)
    probe.attribute = "__attribute__((intel_reqd_sub_group_size(\(unit.lanes))))"
    return probe
  }

  private static func waveUnit(
    _ unit: MatrixUnit, a: Piece, b: Piece, c: Piece, functions: [String], controls: String
  ) -> Probe {
    func text(_ type: String, _ function: String, _ vector: String) -> String {
      func piece(_ piece: Piece) -> Piece {
        Piece(piece.count, row: piece.row, column: piece.column, as: "as_\(vector)\(piece.count)")
      }
      return product(type, piece(a), piece(b), c) {
        "__builtin_amdgcn_\(function)(\($0), \($1), c\(controls))"
      }
    }
    return Probe(
      name: "matrix-\(unit)",
      // Factors in f16 are vectors of half.
      worthTrying: { device, known in
        known.waveMatrix == 0 && known.halfArithmetic && device.mayHaveSubgroups(of: unit.lanes)
          && device.extensions.contains("cl_amd_device_attribute_query")
      },
      assume: { $0.waveMatrix = unit.lanes },
      // And how lanes of one row ask each other.
      body: """
        const int lane = item % \(unit.lanes);
        bool right = true;
        for (int distance = 16; distance < \(unit.lanes); distance *= 2)
          right &= __builtin_amdgcn_ds_bpermute((lane ^ distance) * 4, item) == (item ^ distance);
        \(text("f16", functions[0], "half"))
        \(text("bf16", functions[1], "short"))
        out[item] = right ? item : -1;
        """)
  }

  /// What a lane holds of a matrix: so many elements, of which e stands at (row, column).
  private struct Piece {
    let count: Int
    let row, column: String
    /// What makes an operand of the elements.
    let cast: String

    init(_ count: Int, row: String, column: String, as cast: String = "") {
      (self.count, self.row, self.column, self.cast) = (count, row, column, cast)
    }
  }

  /// C = A · B + ½ with A[i][k] = (3i + 5k) mod 16 and B[k][j] = (7k + 3j) mod 8: whole numbers that both types hold, no two
  /// neighbours alike, so that no lane and no half of a word can change places unnoticed.
  private static func product(
    _ type: String, _ a: Piece, _ b: Piece, _ c: Piece, call: (_ a: String, _ b: String) -> String
  ) -> String {
    let store = type == "f16" ? "vstore_half(x, e, (half *)to)" : "to[e] = as_uint(x) >> 16"
    func fill(_ name: String, _ piece: Piece, _ element: String) -> String {
      """
      ushort \(name)[\(piece.count)];
      for (int e = 0; e < \(piece.count); ++e) {
        const int row = \(piece.row), column = \(piece.column);
        const float x = \(element);
        ushort *to = \(name);
        \(store);
      }
      """
    }
    func operand(_ name: String, _ piece: Piece) -> String {
      "\(piece.cast)(vload\(piece.count)(0, \(name)))"
    }
    return """
      {
        \(fill("a", a, "(3 * row + 5 * column) % 16"))
        \(fill("b", b, "(7 * row + 3 * column) % 8"))
        float\(c.count) c = 0.5f;
        float sums[\(c.count)];
        vstore\(c.count)(\(call(operand("a", a), operand("b", b))), 0, sums);
        for (int e = 0; e < \(c.count); ++e) {
          const int row = \(c.row), column = \(c.column);
          int sum = 0;
          for (int k = 0; k < 16; ++k) sum += (3 * row + 5 * k) % 16 * ((7 * k + 3 * column) % 8);
          right &= sums[e] == sum + 0.5f;
        }
      }
      """
  }
}
