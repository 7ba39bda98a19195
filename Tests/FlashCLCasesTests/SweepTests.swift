import FlashCL
import FlashCLReference
import Testing

@testable import FlashCLCases

@Suite struct SweepTests {
  @Test func rangesAndLists() throws {
    let sweep = try Sweep("N=128:1500:x2,D=64|128,causal=0|1,window=255:0,rows=1:10:+4|64")
    #expect(sweep.axes.map(\.key) == ["N", "D", "causal", "window", "rows"])
    #expect(sweep.axes[0].values == ["128", "256", "512", "1024"])
    #expect(sweep.axes[3].values == ["255:0"])
    #expect(sweep.axes[4].values == ["1", "5", "9", "64"])
    #expect(sweep.points.count == 4 * 2 * 2 * 1 * 4)
    // The last axis is the fastest.
    #expect(sweep.points[0]["rows"] == "1" && sweep.points[1]["rows"] == "5")
    #expect(Set(sweep.points).count == sweep.points.count)
    #expect(try Sweep("N=9223372036854775807:9223372036854775807:x2").points.count == 1)
  }

  @Test(arguments: [
    ("", "key=values"), ("N", "key=values"), ("N=", "key=values"), ("=3", "key=values"),
    ("N=1,,D=2", "key=values"),
    ("N=1,N=2", "twice"), ("N=1|1", "twice"), ("N=1|", "empty value"), ("N=64:32:x2", "empty: 64 is past 32"),
    ("N=1:9:x1", "never ends"), ("N=1:9:+0", "never ends"), ("N=0:9:x2", "never ends"),
    ("N=-4:9:x2", "never ends"),
    ("N=a:9:x2", "no range"), ("N=1:9:xy", "no range"), ("N=1:1000000000000:+1", "limit of 256"),
    ("N=1:16:+1,D=1:17:+1", "272 points"), ("N=1:256:+1,D=1:256:+1,B=1:256:+1", "limit is 256"),
  ])
  func badText(text: String, reason: String) {
    let error = #expect(throws: SweepError.self) { try Sweep(text) }
    #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
  }

  @Test(arguments: [
    ("attention", "Q=1", "no key 'Q'"), ("linear", "N=1", "no key 'N'"),
    ("frobnicate", "rows=1", "no sweep of"), ("cache_append", "rows=1", "no key 'rows'"),
    ("cache_append", "D=33", "odd"), ("cache_append", "D=40,type=q8_0", "multiple of 32"),
    ("attention_weights", "Dv=8", "no key 'Dv'"), ("attention_weights", "N=5,Lk=5", "give N, or"),
    ("attention", "N=3:5", "no whole number"), ("attention", "D=513", "1 to 512"),
    ("attention", "N=0", "1 to"),
    ("attention", "type=q8_0", "f32, f16, bf16"), ("attention", "H=3,Hkv=2", "no multiple"),
    ("attention", "N=5,Lk=5", "give N, or"), ("attention", "window=5", "left:right"),
    ("attention", "window=5:5,mask=full", "not both"), ("attention", "mask=local", "known: full"),
    ("attention", "mask=bigbird:64,Lq=1,Lk=640", "as many"),
    ("attention", "cache=f32,causal=0", "causal=0"), ("attention", "cache=q8_0,D=40", "multiples of 32"),
    ("attention", "cache=f16,Lq=5,Lk=4", "more than"), ("linear", "inputs=33,type=q4_0", "multiple of 32"),
    ("linear", "phase=train", "decode, prefill"), ("top_k", "cols=8,k=9", "1 to 8"), ("rope", "D=7", "odd"),
    ("rms_norm", "rows=x", "no whole number"),
  ])
  func badValues(operation: String, text: String, reason: String) throws {
    let sweep = try Sweep(text)
    let error = #expect(throws: SweepError.self) { try sweep.cases(operation) }
    #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
  }

  /// A point of a sweep that a table has too is the same case, so that results of both can be compared.
  @Test func casesAreThoseOfTheTables() throws {
    let names = Set(Case.all.filter { $0.purpose == .bench }.map { $0.name() })
    for (operation, text) in [
      ("attention", "N=512|1024,causal=0|1"), ("attention", "N=4096,causal=1,window=255:0"),
      ("attention", "H=8,Lq=1,Lk=16384,cache=f32|f16|q8_0,D=64|128"),
      ("linear", "rows=512,outputs=3072,inputs=576,type=f32|q4_1"),
      ("linear", "rows=1,outputs=960,inputs=576,type=f16"), ("layer_norm", "rows=1|512|4096,cols=768"),
      ("rms_norm", "rows=1|512,cols=576"), ("softmax", "rows=4096,cols=768"), ("gelu", "form=exact|tanh"),
      ("silu_multiply", "rows=1|512,cols=1536"), ("gelu_multiply", "rows=1|512,cols=1536"),
      ("argmax", "cols=49152"), ("linear_argmax", "inputs=576,type=q8_0"), ("top_k", "k=40"),
      ("rope", "rows=512,heads=9,D=64"),
      ("cache_append", "tokens=256,Hkv=3,type=f32"), ("embedding", "rows=1|512,type=q8_0"),
    ] {
      for point in try Sweep(text).cases(operation) {
        #expect(names.contains(point.item.name()), "\(point.item.name())")
      }
    }
  }

  private static let small = [
    ("attention", "B=2,H=4,Hkv=2,Lq=9,Lk=17,D=8,causal=0|1"), ("attention", "H=2,N=20,D=8,window=3:0"),
    ("attention", "H=2,Lq=1,Lk=20,D=32,cache=f32|q8_0"),
    ("attention", "H=1,N=70,D=4,mask=full|local:2|atrous:3|strided:4|longformer:3|blocks:50|longnet"),
    ("attention", "H=1,N=200,D=4,mask=bigbird:16"), ("linear", "rows=1|17,inputs=32,outputs=5,type=f32|q4_1"),
    ("layer_norm", "rows=3,cols=9,form=plain|residual|sum|in_place"),
    ("rms_norm", "rows=3,cols=9,type=f16"), ("softmax", "rows=3,cols=9"),
    ("gelu", "rows=2,cols=9,form=tanh"), ("silu_multiply", "rows=2,cols=9"),
    ("gelu_multiply", "rows=2,cols=9"), ("softcap", "rows=2,cols=9"),
    ("weighted_gather", "rows=3,cols=9,k=2"),
    ("argmax", "rows=2,cols=9"), ("linear_argmax", "rows=2,inputs=32,outputs=50,type=f16|q4_1"),
    ("attention_weights", "B=2,H=4,Hkv=2,Lq=9,Lk=17,D=8,causal=0|1,type=f16"),
    ("cache_append", "tokens=1|20,Hkv=2,D=32,rope=0|1,type=f16|q8_0"),
    ("top_k", "rows=2,cols=9,k=3"), ("rope", "rows=3,heads=2,D=8"),
    ("embedding", "rows=3,cols=32,vocabulary=7,type=q4_0"),
  ]

  @Test(arguments: small)
  func everyOperationCanBeSwept(operation: String, text: String) throws {
    for point in try Sweep(text).cases(operation) {
      let result = Runner(ReferenceBackend(), cases: [point.item]).check(point.item, strategy: "reference")
      #expect(result.outcome == .passed, "\(result.case): \(result.reason ?? "")")
      #expect(point.bytes >= point.largest && point.largest > 0)
    }
  }

  @Test func everyOperationOfTheListIsTried() {
    #expect(Set(Self.small.map(\.0)) == Set(Sweep.operations.map(\.name)))
  }

  /// Nothing is timed before it is right.
  @Test func aWrongStrategyIsNotTimed() throws {
    let runner = Runner(Saboteur(), purpose: .bench)
    for point in try Sweep("rows=4,cols=8").cases("rms_norm") {
      let (right, timing) = try runner.time(point.item, strategy: "sound", duration: 0.001)
      #expect(right.outcome == .passed && timing != nil)
      for fault in ["lost", "element", "nan", "beyond"] {
        let (wrong, none) = try runner.time(point.item, strategy: fault, duration: 0.001)
        #expect(wrong.outcome == .failed && none == nil, "\(fault)")
      }
    }
  }

  /// Sizes in bytes are those of the operands.
  @Test func memory() throws {
    let point = try Sweep("H=4,Hkv=2,N=1000,D=64,type=f16").cases("attention")[0]
    let plain = 2 * (2 * 4 * 1000 * 64 + 2 * 2 * 1000 * 64)
    #expect(abs(point.bytes - plain) < 4096)
    #expect(abs(point.largest - 2 * 4 * 1000 * 64) < 1024)
    for (form, tensors) in [("plain", 2), ("in_place", 3), ("sum", 4)] {
      let norm = try Sweep("rows=1000,cols=64,form=\(form)").cases("rms_norm")[0]
      #expect(abs(norm.bytes - 4 * 1000 * 64 * tensors) < 4096)
    }
  }
}
