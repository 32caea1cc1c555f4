#include "cli/console.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "cli/select.h"

namespace reeve::cli {
namespace {

constexpr char kLeave = 0x1d;  // Ctrl-]
using Stream = grpc::ClientReaderWriter<v1::AttachConsoleRequest, v1::AttachConsoleResponse>;

/// Raw mode for the life of the object; nothing when stdin is not a terminal.
class RawTerminal {
 public:
  RawTerminal() {
    if (::isatty(STDIN_FILENO) != 1 || ::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    ::cfmakeraw(&raw);
    active_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  ~RawTerminal() {
    if (active_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  bool active() const { return active_; }

 private:
  termios before_{};
  bool active_ = false;
};

/// Sends what is typed until Ctrl-] or `stop`. At the end of a piped input it stops sending and
/// stays.
void send_input(Stream& stream, grpc::ClientContext& context, const std::atomic<bool>& stop,
                std::atomic<bool>& left) {
  char buffer[4096];
  while (!stop) {
    pollfd fd{STDIN_FILENO, POLLIN, 0};
    if (::poll(&fd, 1, 100) <= 0) continue;
    const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (n <= 0) return;
    std::string_view typed(buffer, static_cast<std::size_t>(n));
    const auto leave = typed.find(kLeave);
    v1::AttachConsoleRequest message;
    message.set_input(std::string(typed.substr(0, leave)));
    if (!message.input().empty() && !stream.Write(message)) return;
    if (leave == std::string_view::npos) continue;
    left = true;
    context.TryCancel();
    return;
  }
}

/// Ends the stream when there was no output for a while: what is kept has been printed.
class QuietWatch {
 public:
  QuietWatch(grpc::ClientContext& context, bool enabled, int timeout_seconds)
      : thread_([this, &context, enabled, timeout_seconds] {
          const auto begin = std::chrono::steady_clock::now();
          while (!stop_) {
            ::usleep(50'000);
            const auto now = std::chrono::steady_clock::now();
            const bool quiet = enabled && now - last_.load() > std::chrono::milliseconds(700);
            const bool late =
                timeout_seconds > 0 && now - begin > std::chrono::seconds(timeout_seconds);
            if (quiet || late) return context.TryCancel();
          }
        }) {}
  ~QuietWatch() {
    stop_ = true;
    thread_.join();
  }
  QuietWatch(const QuietWatch&) = delete;
  QuietWatch& operator=(const QuietWatch&) = delete;
  void heard() { last_ = std::chrono::steady_clock::now(); }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<std::chrono::steady_clock::time_point> last_{std::chrono::steady_clock::now()};
  std::thread thread_;
};

bool only_looks(const ConsoleOptions& options) {
  return options.read_only || options.no_follow || !options.until.empty();
}

/// Prints output; true when `until` was seen.
bool show_output(Stream& stream, const ConsoleOptions& options, QuietWatch& quiet) {
  v1::AttachConsoleResponse response;
  std::string tail;
  bool told_read_only = only_looks(options);
  while (stream.Read(&response)) {
    quiet.heard();
    if (response.lost_bytes() > 0)
      note("\r\n[" + std::to_string(response.lost_bytes()) + " older bytes are no longer kept]\r");
    if (!response.writable() && !std::exchange(told_read_only, true))
      note("\r\n[another client writes; reading only. --take-over takes it]\r");
    print(response.output());
    std::fflush(stdout);
    if (options.until.empty()) continue;
    tail += response.output();
    if (tail.find(options.until) != std::string::npos) return true;
    if (tail.size() > 2 * options.until.size() + 65536)
      tail.erase(0, tail.size() - options.until.size());
  }
  return false;
}

}  // namespace

Status attach_console(Session& session, const ConsoleOptions& options) {
  Client& client = *TRY(session.client());
  const auto vm = TRY(select_vm(client, options.name));
  grpc::ClientContext context;
  client.prepare(context, std::chrono::seconds(0));
  auto stream = client.vms().AttachConsole(&context);
  v1::AttachConsoleRequest open;
  open.mutable_open()->set_name(vm.name());
  const bool only_look = only_looks(options);
  open.mutable_open()->set_mode(options.take_over ? v1::ConsoleOpen::MODE_TAKE_OVER
                                : only_look       ? v1::ConsoleOpen::MODE_READ
                                                  : v1::ConsoleOpen::MODE_WRITE);
  open.mutable_open()->set_from_offset(-1);
  std::atomic<bool> stop{false}, left{false};
  bool found = false;
  const RawTerminal terminal;
  if (terminal.active() && !only_look)
    note("[attached to " + vm.display_name() + "; Ctrl-] leaves]\r");
  if (stream->Write(open)) {
    QuietWatch quiet(context, options.no_follow, options.timeout_seconds);
    std::thread input;
    if (!only_look || terminal.active())
      input = std::thread([&] { send_input(*stream, context, stop, left); });
    found = show_output(*stream, options, quiet);
    stop = true;
    context.TryCancel();
    if (input.joinable()) input.join();
  }
  const grpc::Status status = stream->Finish();
  if (found || left || options.no_follow) return {};
  if (!options.until.empty() && (status.ok() || status.error_code() == grpc::StatusCode::CANCELLED))
    return Error{Code::DeadlineExceeded, "WAIT_TIMEOUT",
                 "'" + options.until + "' did not appear on the console of " + vm.display_name()};
  if (status.ok() || status.error_code() == grpc::StatusCode::CANCELLED) return {};
  return error_of(status);
}

}  // namespace reeve::cli
