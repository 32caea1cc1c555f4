#include "base/log.h"

#include <atomic>
#include <cerrno>

#include <fmt/format.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/text.h"

namespace reeve::log {
namespace {

std::atomic<Level> minimum{Level::Info};
std::function<void(std::string_view)> sink;

constexpr std::string_view name_of(Level level) {
  switch (level) {
    case Level::Debug: return "debug";
    case Level::Info: return "info";
    case Level::Warning: return "warning";
    case Level::Error: return "error";
  }
  return "unknown";
}

void append_field(std::string& line, const Field& field) {
  line += ",\"";
  append_json_escaped(line, field.key());
  line += "\":";
  if (field.quoted()) line += '"';
  append_json_escaped(line, field.text());
  if (field.quoted()) line += '"';
}

void write_line(Level level, std::string_view message, Fields fields, const Error* cause) {
  if (level < minimum.load(std::memory_order_relaxed)) return;
  std::string line = fmt::format("{{\"time\":\"{}\",\"level\":\"{}\",\"message\":\"",
                                 to_rfc3339(RealClock::instance().wall()), name_of(level));
  append_json_escaped(line, message);
  line += '"';
  for (const auto& field : fields) append_field(line, field);
  if (cause != nullptr) {
    append_field(line, {"code", static_cast<int>(cause->code())});
    append_field(line, {"reason", cause->reason()});
    append_field(line, {"error", cause->message()});
  }
  line += "}\n";
  if (sink) return sink(line);
  // A full or closed stderr must not stop the work; the line is lost.
  while (::write(STDERR_FILENO, line.data(), line.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace

Field::Field(std::string_view key, double value) : key_(key), text_(fmt::format("{}", value)) {}

void debug(std::string_view message, Fields fields) {
  write_line(Level::Debug, message, fields, nullptr);
}
void info(std::string_view message, Fields fields) {
  write_line(Level::Info, message, fields, nullptr);
}
void warning(std::string_view message, Fields fields) {
  write_line(Level::Warning, message, fields, nullptr);
}
void error(std::string_view message, Fields fields) {
  write_line(Level::Error, message, fields, nullptr);
}
void warning(std::string_view message, const Error& cause, Fields fields) {
  write_line(Level::Warning, message, fields, &cause);
}
void error(std::string_view message, const Error& cause, Fields fields) {
  write_line(Level::Error, message, fields, &cause);
}

void guest_warning(std::string_view message, Fields fields) {
  constexpr int kLinesPerSecond = 10;
  static Mutex mutex;
  static Monotonic window_start;
  static int written = 0;
  static std::uint64_t dropped = 0;
  std::uint64_t dropped_before = 0;
  {
    Lock lock(mutex);
    const auto now = RealClock::instance().monotonic();
    if (now - window_start >= std::chrono::seconds(1)) {
      window_start = now;
      written = 0;
    }
    if (written >= kLinesPerSecond) {
      ++dropped;
      return;
    }
    ++written;
    std::swap(dropped_before, dropped);
  }
  if (dropped_before > 0) warning("guest warnings dropped", {{"count", dropped_before}});
  warning(message, fields);
}

void set_level(Level level) {
  minimum = level;
}
void set_sink(std::function<void(std::string_view)> new_sink) {
  sink = std::move(new_sink);
}

}  // namespace reeve::log
