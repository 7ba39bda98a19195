import FlashCL
import FlashCLReference
import Foundation
import Testing

/// Expressions without a truth in Swift, as the reference reads them.
@Suite struct ExpressionTests {
  let backend = ReferenceBackend()

  /// The value of a scoreMod at b = 1, h = 2, i = 3, j = 5 with a score of 0.75: rows see the key level with them.
  private func value(_ text: String, _ constants: KeyValuePairs<String, Tensor> = [:]) throws -> Double {
    let q = try backend.tensor([Double](repeating: 0.75, count: 2 * 3 * 4), [2, 3, 4, 1])
    let k = try backend.tensor([Double](repeating: 1, count: 2 * 6), [2, 1, 6, 1])
    return try backend.scores(
      q, k,
      AttentionOptions(
        mask: .window(left: 0, right: 0), scoreMod: ScoreExpression(text, constants: constants),
        maskMod: ScoreExpression("b == 1 && h == 2 && i == 3 && j == 5")))[(1 * 3 + 2) * 4 + 3]
  }

  /// Answers of a C compiler.
  @Test(arguments: [
    ("score", 0.75), ("1000 * b + 100 * h + 10 * i + j", 1235), ("1 + 2 * 3 - 4", 3), ("1 - 2 - 3", -4),
    ("7 / 2 * 2.0f", 6), ("-7 / 2", -3), ("-7 % 3", -1), ("(i - 7) / 3 + 0.5f", -0.5),
    ("1 << 3 | 5 & 6 ^ 1", 13), ("-8 >> 1", -4), ("~5", -6), ("!score + !0", 1), ("i < j && j < 6 || 0", 1),
    ("i == 3 != 0", 1), ("0x1F + 1e-3f", 31.0009995), (".5f + 1.5f + 2.", 4), ("1.e2f + 3E+1f", 130),
    ("(int)2.9f + (int)-2.9f", 0), ("(uint)(i - j) / 2u", 2_147_483_647),
    ("score - 0.5f * abs(i - j)", -0.25), ("-abs(i - j) * 0.5f", 2_147_483_647), ("i > 2 ? 1 : 0.5f", 1),
    ("(i > 2 ? 1 : 0.5f) / 2", 0.5), ("i ? j ? 10 : 20 : 30", 10), ("2147483647 + 1", -2_147_483_648),
    ("0xFFFFFFFF / 2", 2_147_483_647), ("3000000000u - 1", 2_999_999_999),
    ("(h * 73856093 ^ i * 19349663 ^ j * 83492791) % 100", 92), ("- -i - -j", 8), ("010 + 0", 8),
    ("4u - 5 > 0", 1), ("(score > 0.5f) * 2.5f", 2.5), ("false || true", 1), ("1L + 2UL", 3),
  ]) func asInC(_ text: String, _ truth: Double) throws {
    #expect(try value(text) == Double(Float(truth)), "\(text)")
  }

  @Test(arguments: [
    ("fabs(-score)", 0.75), ("exp(score)", exp(0.75)), ("exp2(3.f)", 8), ("log(score)", log(0.75)),
    ("log2(8.0f)", 3), ("sqrt(score)", 0.75.squareRoot()), ("rsqrt(4.0f)", 0.5), ("tanh(score)", tanh(0.75)),
    ("sin(score)", sin(0.75)), ("cos(M_PI_F)", -1), ("pow(score, 3.0f)", 0.421875), ("floor(-2.5f)", -3),
    ("ceil(-2.5f)", -2), ("rint(2.5f)", 2), ("round(2.5f)", 3), ("round(-2.5f)", -3), ("trunc(-2.5f)", -2),
    ("fmod(-7.5f, 2.0f)", -1.5), ("fmin(score, 0.5f)", 0.5), ("fmax(score, 0.5f)", 0.75), ("min(i, j)", 3),
    ("max(-1, i - j)", -1), ("max(7, 2) / 2", 3), ("clamp(j, 0, 4)", 4), ("clamp(score, 1.0f, 2.0f)", 1),
    ("convert_float(i) / 2", 1.5), ("convert_int(2.7f)", 2), ("sign(-score)", -1), ("step(0.5f, score)", 1),
    ("step(1.0f, score)", 0), ("isnan(score) + 2 * isinf(-INFINITY)", 2), ("fmax(score, -INFINITY)", 0.75),
  ]) func functions(_ text: String, _ truth: Double) throws {
    #expect(agree([try value(text)], [truth]), "\(text)")
  }

  @Test func constants() throws {
    let ids = try backend.tensor([Int32(4), 9, -2], [3])
    let table = try backend.tensor([0.5, 1.5, 2.5, 3.5], [2, 2])
    #expect(try value("table[i] * ids[2] + ids[h - 1] / 2", ["ids": ids, "table": table]) == -3)
    // What is not reached is not read.
    #expect(try value("i < 3 && ids[i] ? 1 : 2", ["ids": ids]) == 2)
  }

  @Test func infinityMasksAndNothingElseDoes() throws {
    #expect(try value("-INFINITY") == -.infinity)
    #expect(try value("-1e30f") == Double(-1e30 as Float))
  }

  @Test func aTruthInSwiftComesFirst() throws {
    let q = try backend.tensor([2.0], [1, 1, 1, 1])
    let mod = ScoreExpression(
      "native_exp(score)", truth: { score, b, h, i, j in score * 10 + Double(b + h + i + j) })
    #expect(try backend.scores(q, q, AttentionOptions(scoreMod: mod)) == [40])
  }

  @Test(arguments: [
    ("score * foo", "scoreMod 'score * foo': unknown name 'foo' at column 9"),
    ("score +", "scoreMod 'score +': a value is missing at column 8"),
    ("score + )(", "is not one expression"),
    ("* 2", "a value is missing before '*' at column 1"),
    ("score 2", "unexpected '2' at column 7"),
    ("score = 2", "unexpected '=' at column 7"),
    ("i ? 1", "a ':' is missing at column 6"),
    ("(i + 1", "is not one expression"),
    ("2 * (i + 1]", "is not one expression"),
    ("1.2.3", "'1.2.3' is no number at column 1"), ("1f", "'1f' is no number at column 1"),
    ("09", "'09' is no number at column 1"), ("2147483648", "'2147483648' is beyond 32 bits at column 1"),
    ("i / (j - 5)", "a whole number is divided by 0 at column 3"),
    ("1 + i % 0", "a whole number is divided by 0 at column 7"),
    ("score % 2", "'%' of a float at column 7"), ("score << 1", "'<<' of a float at column 7"),
    ("~score", "'~' of a float at column 1"),
    ("abs(score)", "'abs' is of whole numbers, 'fabs' of a float, at column 1"),
    ("exp(1, 2)", "'exp' takes 1 and is given 2 arguments at column 1"),
    ("clamp()", "'clamp' takes 3 and is given 0 arguments at column 1"),
    ("ids + 1", "'ids' is an array and needs an [index] at column 1"),
    ("ids[score]", "the index of 'ids' is a float at column 1"),
    ("1 + ids[j]", "ids[5] of 3 elements, for b = 1, h = 2, i = 3, j = 5, at column 5"),
    ("ids[i - 4]", "ids[-1] of 3 elements"),
    (
      "score + erf(score)", "the reference does not know the function 'erf' at column 9; an OpenCL device may"
    ),
  ]) func wordsForWhatCannotBeRead(_ text: String, _ words: String) throws {
    do {
      _ = try value(text, ["ids": backend.tensor([Int32(1), 2, 3], [3])])
      Issue.record("\(text) was read")
    } catch { #expect("\(error)".contains(words), "\(error)") }
  }

  @Test func aMaskHasNoScore() throws {
    let q = try backend.tensor([2.0], [1, 1, 1, 1])
    let error = try #require(throws: FlashCLError.self) {
      try backend.attention(q, q, q, AttentionOptions(maskMod: ScoreExpression("score > 0")))
    }
    #expect(error.description == "maskMod 'score > 0': a maskMod has no 'score' at column 1")
  }

  /// Text of any depth is refused before the stack ends, and long sums are read.
  @Test func depth() throws {
    #expect(try value([String](repeating: "1", count: 200).joined(separator: " + ")) == 200)
    let open = String(repeating: "(", count: 50), closed = String(repeating: ")", count: 50)
    #expect(try value(open + "7" + closed) == 7)
    let many = 100_000
    for text in [
      String(repeating: "(", count: many) + "1" + String(repeating: ")", count: many),
      String(repeating: "- ", count: many) + "1", String(repeating: "(int)", count: many) + "1",
      [String](repeating: "1", count: many).joined(separator: "+"),
      String(repeating: "1?1:", count: many) + "1",
    ] {
      #expect(throws: FlashCLError.self) { try value(text) }
    }
  }
}
