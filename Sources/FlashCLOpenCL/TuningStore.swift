import FlashCLRuntime

extension Tuning {
  private static let folder = DiskCache.standard("tuning")

  private static func key(_ device: Device) -> Fingerprint {
    var key = Fingerprint()
    for part in device.identity { key.combine(part) }
    return key
  }

  /// The table kept for this device and driver; empty where there is none that is whole and of this version.
  public static func stored(for device: Device) -> Tuning {
    folder.load(key(device)).flatMap { try? Tuning(text: String(decoding: $0, as: UTF8.self)) } ?? Tuning()
  }

  /// Keeps the table for every later process on this device and driver; an empty one forgets.
  public func store(for device: Device) {
    if isEmpty {
      Self.folder.remove(Self.key(device))
    } else {
      Self.folder.store(Self.key(device), [UInt8](lines.joined(separator: "\n").utf8))
    }
  }
}
