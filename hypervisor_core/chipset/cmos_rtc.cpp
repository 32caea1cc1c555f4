#include "hypervisor_core/chipset/cmos_rtc.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "reeve/core/v1/chipset_state.pb.h"

namespace reeve::core {
namespace {

enum Register : std::uint8_t {
  kSeconds = 0,
  kSecondsAlarm = 1,
  kMinutes = 2,
  kMinutesAlarm = 3,
  kHours = 4,
  kHoursAlarm = 5,
  kWeekday = 6,
  kDay = 7,
  kMonth = 8,
  kYear = 9,
  kStatusA = 10,
  kStatusB = 11,
  kStatusC = 12,
  kStatusD = 13,
  kCentury = 0x32,
};

constexpr std::uint8_t kBinary = 4, k24Hours = 2, kPm = 0x80;
constexpr std::uint8_t kAlarmEnable = 0x20, kHold = 0x80;         // status B
constexpr std::uint8_t kAlarmFlag = 0x20, kInterruptFlag = 0x80;  // status C
constexpr std::uint8_t kAny = 0xc0;  // an alarm field that always matches
constexpr std::int64_t kDaySeconds = 86400;
constexpr std::uint64_t kMiB = 1 << 20;

struct Calendar {
  int year;
  unsigned month, day, weekday, hour, minute, second;
};

Calendar calendar_of(std::int64_t seconds) {
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return {static_cast<int>(date.year()),
          static_cast<unsigned>(date.month()),
          static_cast<unsigned>(date.day()),
          std::chrono::weekday(day).c_encoding() + 1,
          static_cast<unsigned>(clock.hours().count()),
          static_cast<unsigned>(clock.minutes().count()),
          static_cast<unsigned>(clock.seconds().count())};
}

std::int64_t seconds_of(const Calendar& c) {
  using namespace std::chrono;
  const auto last = static_cast<unsigned>(
      year_month_day_last(year(c.year), month_day_last(month(c.month))).day());
  const sys_days day = year(c.year) / month(c.month) / std::chrono::day(std::min(c.day, last));
  return duration_cast<seconds>(day.time_since_epoch()).count() + c.hour * 3600 + c.minute * 60 +
         c.second;
}

bool is_time(std::uint8_t index) {
  return index == kSeconds || index == kMinutes || index == kHours ||
         (index >= kWeekday && index <= kYear) || index == kCentury;
}

}  // namespace

CmosRtc::CmosRtc(const Clock& clock, std::uint64_t ram_bytes) : clock_(clock) {
  const std::uint64_t low = std::min<std::uint64_t>(ram_bytes, 3072 * kMiB);
  const auto put16 = [this](std::size_t at, std::uint64_t value) REEVE_REQUIRES(mutex_) {
    memory_[at] = static_cast<std::uint8_t>(value);
    memory_[at + 1] = static_cast<std::uint8_t>(value >> 8);
  };
  Lock lock(mutex_);
  memory_[kStatusA] = 0x26;
  memory_[kStatusB] = k24Hours;
  memory_[kStatusD] = 0x80;  // battery is good
  put16(0x15, 640);
  put16(0x30, low > kMiB ? std::min<std::uint64_t>((low - kMiB) >> 10, 0xffff) : 0);
  put16(0x34, low > 16 * kMiB ? (low - 16 * kMiB) >> 16 : 0);
}

void CmosRtc::read(std::uint64_t offset, std::span<std::byte> out) {
  if (out.size() != 1 || offset != 1) return fill_ones(out);
  Lock lock(mutex_);
  out[0] = static_cast<std::byte>(read_register(index_));
}

void CmosRtc::write(std::uint64_t offset, std::span<const std::byte> value) {
  if (value.size() != 1) return;
  const auto byte = std::to_integer<std::uint8_t>(value[0]);
  {
    Lock lock(mutex_);
    if (offset == 0) {
      index_ = byte & 0x7f;  // the top bit masks NMI
      return;
    }
    const auto before = alarm_;
    write_register(index_, byte);
    if (index_ <= kStatusB) find_alarm();
    if (alarm_ == before) return;
  }
  if (events_ != nullptr) events_->raise(MachineEvent::AlarmChanged, 0);
}

void CmosRtc::connect(InterruptLine& line, MachineEvents& events) {
  line_ = &line;
  events_ = &events;
}

std::optional<std::chrono::seconds> CmosRtc::until_alarm() const {
  Lock lock(mutex_);
  if (!alarm_) return std::nullopt;
  return std::chrono::seconds(std::max<std::int64_t>(*alarm_ - guest_seconds(), 0));
}

void CmosRtc::check_alarm() {
  Lock lock(mutex_);
  if (!alarm_ || guest_seconds() < *alarm_) return;
  memory_[kStatusC] |= kAlarmFlag | kInterruptFlag;
  set_line();
  find_alarm();
}

void CmosRtc::set_line() const {
  if (line_ != nullptr) line_->set_level((memory_[kStatusC] & kInterruptFlag) != 0);
}

bool CmosRtc::alarm_matches(std::int64_t guest_second) const {
  const Calendar at = calendar_of(guest_second);
  const auto matches = [this](Register field, std::uint8_t value) REEVE_REQUIRES(mutex_) {
    return (memory_[field] & kAny) == kAny || memory_[field] == value;
  };
  return matches(kSecondsAlarm, encode(at.second)) && matches(kMinutesAlarm, encode(at.minute)) &&
         matches(kHoursAlarm, hour_register(at.hour));
}

/// The next second that matches; a day has them all.
void CmosRtc::find_alarm() {
  alarm_.reset();
  if ((memory_[kStatusB] & (kAlarmEnable | kHold)) != kAlarmEnable) return;
  const std::int64_t now = guest_seconds();
  for (std::int64_t ahead = 1; ahead <= kDaySeconds && !alarm_; ++ahead)
    if (alarm_matches(now + ahead)) alarm_ = now + ahead;
}

std::uint8_t CmosRtc::encode(unsigned value) const {
  if ((memory_[kStatusB] & kBinary) != 0) return static_cast<std::uint8_t>(value);
  return static_cast<std::uint8_t>(value / 10 % 10 << 4 | value % 10);
}

unsigned CmosRtc::decode(std::uint8_t value) const {
  if ((memory_[kStatusB] & kBinary) != 0) return value;
  return (value >> 4) * 10u + (value & 0xfu);
}

std::int64_t CmosRtc::guest_seconds() const {
  return std::chrono::floor<std::chrono::seconds>(clock_.wall()).time_since_epoch().count() +
         offset_seconds_;
}

std::uint8_t CmosRtc::hour_register(unsigned hour) const {
  if ((memory_[kStatusB] & k24Hours) != 0) return encode(hour);
  const unsigned half = hour % 12 == 0 ? 12 : hour % 12;
  return static_cast<std::uint8_t>(encode(half) | (hour >= 12 ? kPm : 0));
}

std::uint8_t CmosRtc::read_register(std::uint8_t index) {
  if (index == kStatusC) {  // reading it ends the interrupt
    const std::uint8_t flags = std::exchange(memory_[kStatusC], 0);
    set_line();
    return flags;
  }
  if (!is_time(index)) return memory_[index];
  const Calendar now = calendar_of(guest_seconds());
  switch (index) {
    case kSeconds: return encode(now.second);
    case kMinutes: return encode(now.minute);
    case kHours: return hour_register(now.hour);
    case kWeekday: return encode(now.weekday);
    case kDay: return encode(now.day);
    case kMonth: return encode(now.month);
    case kYear: return encode(static_cast<unsigned>(now.year % 100));
    default: return encode(static_cast<unsigned>(now.year / 100));
  }
}

void CmosRtc::write_register(std::uint8_t index, std::uint8_t value) {
  if (is_time(index)) return set_field(index, value);
  if (index == kStatusC || index == kStatusD) return;
  memory_[index] = index == kStatusA ? value & 0x7f : value;
}

void CmosRtc::set_field(std::uint8_t index, std::uint8_t value) {
  Calendar now = calendar_of(guest_seconds());
  const unsigned number = decode(index == kHours ? value & 0x7f : value);
  switch (index) {
    case kSeconds: now.second = std::min(number, 59u); break;
    case kMinutes: now.minute = std::min(number, 59u); break;
    case kHours:
      now.hour = std::min(number, 23u);
      if ((memory_[kStatusB] & k24Hours) == 0)
        now.hour = number % 12 + ((value & kPm) != 0 ? 12u : 0u);
      break;
    case kDay: now.day = std::clamp(number, 1u, 31u); break;
    case kMonth: now.month = std::clamp(number, 1u, 12u); break;
    case kYear: now.year = now.year / 100 * 100 + static_cast<int>(std::min(number, 99u)); break;
    case kCentury:
      now.year = now.year % 100 + static_cast<int>(std::clamp(number, 19u, 99u)) * 100;
      break;
    default: return;  // the weekday follows from the date
  }
  offset_seconds_ += seconds_of(now) - guest_seconds();
}

void CmosRtc::save(v1::RtcState& state) const {
  Lock lock(mutex_);
  state.set_version(1);
  state.set_index(index_);
  state.set_memory(memory_.data(), memory_.size());
  state.set_offset_seconds(offset_seconds_);
}

Status CmosRtc::load(const v1::RtcState& state) {
  constexpr std::int64_t kCenturies = 300'000'000'000;  // keeps the calendar arithmetic in range
  if (state.version() != 1 || state.memory().size() != 128 || state.offset_seconds() > kCenturies ||
      state.offset_seconds() < -kCenturies)
    return Error{Code::InvalidArgument, "DEVICE_STATE", "clock state is not version 1"};
  Lock lock(mutex_);
  index_ = state.index() & 0x7f;
  std::copy(state.memory().begin(), state.memory().end(), memory_.begin());
  offset_seconds_ = state.offset_seconds();
  memory_[kStatusC] &= kAlarmFlag | kInterruptFlag;
  find_alarm();
  set_line();
  return {};
}

}  // namespace reeve::core
