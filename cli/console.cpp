#include "cli/console.h"

#include <atomic>
#include <chrono>
#include <optional>
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

using Instant = std::chrono::steady_clock::time_point;

/// Cuts a connection that has nothing more to give: `quiet_ends` and there was no output for a
/// while after the first answer (what is kept has been shown), or `deadline` has passed.
class Cutter {
 public:
  Cutter(grpc::ClientContext& context, bool quiet_ends, std::optional<Instant> deadline)
      : thread_([this, &context, quiet_ends, deadline] {
          while (!stop_) {
            ::usleep(50'000);
            const auto now = std::chrono::steady_clock::now();
            const bool quiet =
                quiet_ends && answered_ && now - last_.load() > std::chrono::milliseconds(700);
            if (!quiet && !(deadline && now > *deadline)) continue;
            cut_ = true;
            return context.TryCancel();
          }
        }) {}
  ~Cutter() {
    stop_ = true;
    thread_.join();
  }
  Cutter(const Cutter&) = delete;
  Cutter& operator=(const Cutter&) = delete;
  void heard() {
    last_ = std::chrono::steady_clock::now();
    answered_ = true;
  }
  bool has_cut() const { return cut_; }

 private:
  std::atomic<bool> stop_{false}, cut_{false}, answered_{false};
  std::atomic<Instant> last_{};
  std::thread thread_;
};

/// A machine's console, over as many connections as it takes: each goes on where the last ended.
class Attachment {
 public:
  Attachment(Client& client, std::string vm, const ConsoleOptions& options)
      : client_(client), vm_(std::move(vm)), options_(options) {
    if (options.timeout_seconds > 0)
      deadline_ = std::chrono::steady_clock::now() + std::chrono::seconds(options.timeout_seconds);
  }

  bool only_looks() const {
    return options_.read_only || options_.no_follow || !options_.until.empty();
  }

  enum class End : std::uint8_t { Found, Left, Cut, Lost };
  /// One connection from beginning to end; status() says why it was lost.
  End attend(bool can_type);
  const grpc::Status& status() const { return status_; }
  bool was_answered() const { return answered_; }
  /// False when it never was attached, or the server refuses it: to try again is no use.
  bool may_come_back() const;
  /// A moment between two connections; anything but Lost ends it.
  End pause(bool can_type) const;

 private:
  bool show_output(Stream& stream, Cutter& cutter);
  v1::AttachConsoleRequest opening() const;

  Client& client_;
  const std::string vm_;
  const ConsoleOptions& options_;
  std::optional<Instant> deadline_;
  grpc::Status status_;
  std::int64_t next_ = -1;  ///< offset of the first byte that was not shown
  bool attached_ = false;   ///< at least once
  bool answered_ = false;   ///< in the last connection
  bool told_read_only_ = false;
  std::string tail_;  ///< of what was shown, while `until` is looked for
};

v1::AttachConsoleRequest Attachment::opening() const {
  v1::AttachConsoleRequest request;
  request.mutable_open()->set_name(vm_);
  request.mutable_open()->set_mode(options_.take_over && next_ < 0 ? v1::ConsoleOpen::MODE_TAKE_OVER
                                   : only_looks()                  ? v1::ConsoleOpen::MODE_READ
                                                                   : v1::ConsoleOpen::MODE_WRITE);
  request.mutable_open()->set_from_offset(next_);
  return request;
}

/// Prints output; true when `until` was seen.
bool Attachment::show_output(Stream& stream, Cutter& cutter) {
  v1::AttachConsoleResponse response;
  while (stream.Read(&response)) {
    cutter.heard();
    attached_ = answered_ = true;
    if (response.lost_bytes() > 0)
      note("\r\n[" + std::to_string(response.lost_bytes()) + " older bytes are no longer kept]\r");
    if (!only_looks() && !response.writable() && !std::exchange(told_read_only_, true))
      note("\r\n[another client writes; reading only. --take-over takes it]\r");
    const std::string& output = response.output();
    if (!output.empty()) next_ = response.offset() + static_cast<std::int64_t>(output.size());
    print(output);
    std::fflush(stdout);
    if (options_.until.empty()) continue;
    tail_ += output;
    if (tail_.find(options_.until) != std::string::npos) return true;
    if (tail_.size() > 2 * options_.until.size() + 65536)
      tail_.erase(0, tail_.size() - options_.until.size());
  }
  return false;
}

Attachment::End Attachment::attend(bool can_type) {
  grpc::ClientContext context;
  client_.prepare(context, std::chrono::seconds(0));
  auto stream = client_.vms().AttachConsole(&context);
  std::atomic<bool> stop{false}, left{false};
  bool found = false, cut = false;
  answered_ = false;
  if (stream->Write(opening())) {
    Cutter cutter(context, options_.no_follow, deadline_);
    std::thread input;
    if (can_type) input = std::thread([&] { send_input(*stream, context, stop, left); });
    found = show_output(*stream, cutter);
    stop = true;
    cut = cutter.has_cut();
    if (found) context.TryCancel();  // else the server's reason is still to come
    if (input.joinable()) input.join();
  }
  status_ = stream->Finish();
  return found ? End::Found : left ? End::Left : cut ? End::Cut : End::Lost;
}

bool Attachment::may_come_back() const {
  switch (status_.error_code()) {
    case grpc::StatusCode::OK:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::UNAVAILABLE: return attached_ && !options_.no_follow;
    default: return false;
  }
}

Attachment::End Attachment::pause(bool can_type) const {
  constexpr int kPauseMs = 500;
  pollfd fd{can_type ? STDIN_FILENO : -1, POLLIN, 0};
  if (::poll(&fd, 1, kPauseMs) > 0) {
    // Typed while nobody hears it: only the wish to leave counts.
    char buffer[4096];
    const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    const std::string_view typed(buffer, n > 0 ? static_cast<std::size_t>(n) : 0);
    if (n <= 0) ::usleep(kPauseMs * 1000);
    if (typed.find(kLeave) != std::string_view::npos) return End::Left;
  }
  return deadline_ && std::chrono::steady_clock::now() > *deadline_ ? End::Cut : End::Lost;
}

}  // namespace

Status attach_console(Session& session, const ConsoleOptions& options) {
  using End = Attachment::End;
  Client& client = *TRY(session.client());
  const auto vm = TRY(select_vm(client, options.name));
  Attachment console(client, vm.name(), options);
  const RawTerminal terminal;
  const bool can_type = !console.only_looks() || terminal.active();
  if (terminal.active() && !console.only_looks())
    note("[attached to " + vm.display_name() + "; Ctrl-] leaves]\r");
  End end = console.attend(can_type);
  while (end == End::Lost && console.may_come_back()) {
    if (console.was_answered())
      note("\r\n[connection lost: " + error_of(console.status()).message() +
           "; attaching again]\r");
    end = console.pause(can_type);
    if (end == End::Lost) end = console.attend(can_type);
  }
  if (end == End::Lost) return error_of(console.status());
  if (end == End::Cut && !options.until.empty())
    return Error{Code::DeadlineExceeded, "WAIT_TIMEOUT",
                 "'" + options.until + "' did not appear on the console of " + vm.display_name()};
  return {};
}

}  // namespace reeve::cli
