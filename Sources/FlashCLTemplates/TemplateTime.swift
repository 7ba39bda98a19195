/// A time of day on a day of the Gregorian calendar, which `strftime_now` tells.
public struct TemplateTime: Sendable {
  public var year, month, day, hour, minute, second: Int

  public init(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0) {
    self.year = year
    self.month = month
    self.day = day
    self.hour = hour
    self.minute = minute
    self.second = second
  }

  private static let months = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November",
    "December",
  ]
  private static let weekdays = [
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
  ]

  private var isLeapYear: Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  /// From 1.
  private var dayOfYear: Int {
    let lengths = [31, isLeapYear ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return lengths.prefix(max(0, month - 1)).reduce(day, +)
  }

  /// 0 is Sunday.
  private var weekday: Int {
    let years = year - 1
    // 1 January of the year 1 was a Monday.
    let days = 365 * years + years / 4 - years / 100 + years / 400 + dayOfYear
    return (days % 7 + 7) % 7
  }

  /// The time as `strftime` of C writes it in the locale C.
  func text(_ format: String) throws -> String {
    var result = ""
    var isDirective = false
    /// `%-d` leaves the zero out.
    var isBare = false
    func padded(_ number: Int, _ width: Int = 2, with fill: String = "0") -> String {
      let digits = "\(number)"
      return isBare ? digits : String(repeating: fill, count: max(0, width - digits.utf8.count)) + digits
    }
    for scalar in format.unicodeScalars {
      guard isDirective else {
        if scalar == "%" { isDirective = true } else { result.unicodeScalars.append(scalar) }
        continue
      }
      if scalar == "-", !isBare {
        isBare = true
        continue
      }
      let month = Self.months.indices.contains(month - 1) ? Self.months[month - 1] : ""
      switch scalar {
      case "Y": result += "\(year)"
      case "y": result += padded(year % 100)
      case "m": result += padded(self.month)
      case "d": result += padded(day)
      case "e": result += padded(day, with: " ")
      case "H": result += padded(hour)
      case "I": result += padded((hour + 11) % 12 + 1)
      case "M": result += padded(minute)
      case "S": result += padded(second)
      case "j": result += padded(dayOfYear, 3)
      case "p": result += hour < 12 ? "AM" : "PM"
      case "B": result += month
      case "b", "h": result += month.prefix(3)
      case "A": result += Self.weekdays[weekday]
      case "a": result += Self.weekdays[weekday].prefix(3)
      case "w": result += "\(weekday)"
      case "F": result += try text("%Y-%m-%d")
      case "T", "X": result += try text("%H:%M:%S")
      case "D", "x": result += try text("%m/%d/%y")
      case "R": result += try text("%H:%M")
      case "c": result += try text("%a %b %e %H:%M:%S %Y")
      case "n": result += "\n"
      case "t": result += "\t"
      case "%": result += "%"
      default: throw Fault.unsupported("the directive '%\(scalar)' of strftime_now")
      }
      (isDirective, isBare) = (false, false)
    }
    if isDirective { throw Fault.unsupported("a lone '%' in strftime_now") }
    return result
  }
}
