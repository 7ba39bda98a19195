/// A backend that can tell what a run takes before it is made: a twin of it is given the same operations, counts the memory and
/// notes the programs, and computes nothing.
public protocol RehearsingBackend: Backend {
  /// The twin: its tensors have shapes and no memory, what is written to them is lost, and what is read are zeros. Nil where
  /// this is one.
  func imagined() -> (any RehearsingBackend)?
  /// True of the twin.
  var isImagined: Bool { get }
  /// Bytes that tensors, weights and caches hold now.
  var heldBytes: Int { get }
  /// Bytes of memory that the device has.
  var memoryBytes: Int { get }
  /// Programs that a rehearsal on the twin has shown to be needed, and that are not kept from earlier.
  func unready(for rehearsal: any RehearsingBackend) -> Int
  /// Builds those programs, or `part` of `parts`, which several processes share, and keeps them; `progress` is called after each.
  func makeReady(for rehearsal: any RehearsingBackend, part: Int, of parts: Int, progress: () -> Void) throws
}
