import FlashCLRuntime

extension Tuning {
  private static let folder = DiskCache.standard("tuning")

  static func key(_ device: Device) -> Fingerprint {
    var key = Fingerprint()
    for part in device.identity { key.combine(part) }
    return key
  }

  /// The table kept for this device and driver; empty where there is none that is whole and of this version.
  public static func stored(for device: Device) -> Tuning { stored(for: device, in: folder) }

  static func stored(for device: Device, in folder: DiskCache) -> Tuning {
    folder.load(key(device)).flatMap { try? Tuning(text: String(decoding: $0, as: UTF8.self)) } ?? Tuning()
  }

  /// Keeps the table for every later process on this device and driver; an empty one forgets.
  public func store(for device: Device) { store(for: device, in: Self.folder) }

  func store(for device: Device, in folder: DiskCache) {
    if isEmpty {
      folder.remove(Self.key(device))
    } else {
      folder.store(Self.key(device), [UInt8](lines.joined(separator: "\n").utf8))
    }
  }
}
