import Dispatch
import Synchronization

/// A value that another thread makes while this one does something else.
final class Meanwhile<Value: Sendable>: Sendable {
  private let result = Mutex<Result<Value, any Error>?>(nil)
  private let isThere = DispatchSemaphore(value: 0)

  init(_ make: @escaping @Sendable () throws -> Value) {
    DispatchQueue.global().async {
      let made = Result(catching: make)
      self.result.withLock { $0 = made }
      self.isThere.signal()
    }
  }

  /// Waits for it, or for the error that making it threw.
  func get() throws -> Value {
    isThere.wait()
    isThere.signal()  // for whoever asks next
    guard let result = result.withLock({ $0 }) else { throw ModelError("a value was not made") }
    return try result.get()
  }
}
