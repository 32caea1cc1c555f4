#include "hypervisor_core/vmm/server.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "hypervisor_core/control/said.h"

namespace reeve::core::vmm {
namespace {

constexpr std::size_t kConsolePiece = 64 << 10;
constexpr std::size_t kMaxTyped = 4096;
constexpr auto kFarewell = std::chrono::seconds(1);
/// The machine rings for every byte of console output; it is heard this often at most.
constexpr auto kRest = std::chrono::milliseconds(2);
constexpr std::uint32_t kMaxAgentTimeout = 60'000;
constexpr int kTypingPace = 5;
constexpr std::uint32_t kMaxFreeze = 600'000;

void fill_error(v1::ControlError& out, const Error& error) {
  out.set_code(static_cast<std::uint32_t>(error.code()));
  out.set_reason(std::string(error.reason()));
  out.set_message(control::passable(error.message()));  // may hold what the caller sent
}

/// Counts what goes into a file.
class CountedSink final : public StateSink {
 public:
  CountedSink(int fd, std::atomic<std::uint64_t>& bytes) : file_(fd), bytes_(bytes) {}
  Status write(std::span<const std::byte> bytes) override {
    TRY(file_.write(bytes));
    bytes_ += bytes.size();
    return {};
  }

 private:
  FdSink file_;
  std::atomic<std::uint64_t>& bytes_;
};

const char* doing_of(v1::ControlRequest::VerbCase verb) {
  using Verb = v1::ControlRequest;
  switch (verb) {
    case Verb::kPause: return "is being paused";
    case Verb::kResume: return "is being resumed";
    case Verb::kReset: return "is being reset";
    case Verb::kStop: return "is being stopped";
    case Verb::kSave: return "is being saved";
    default: return "gets a larger disk";
  }
}

}  // namespace

struct Server::Connection {
  Connection(Fd s, std::uint64_t n) : socket(std::move(s)), number(n) {}
  Fd socket;
  const std::uint64_t number;
  control::FrameReader reader{};
  std::string backlog{};
  bool watches_console = false, watches_state = false;
  std::uint64_t console_offset = 0;
  std::uint64_t told_changes = 0;

  void send(const v1::ControlMessage& message) {
    control::append_frame(backlog, message.SerializeAsString());
  }
};

Server::Server(Vm& vm, ConsoleOutlet& console, Fd listener, int wake, int run_dir,
               const sandbox::Report& jail)
    : vm_(vm),
      console_(console),
      listener_(std::move(listener)),
      wake_(wake),
      run_dir_(run_dir),
      jail_(jail) {
  // Who froze a machine that was saved then is not here: due at once.
  const auto* channel = vm_.board().peripherals().agent_channel();
  if (channel != nullptr && channel->owes_thaw()) thaw_ = Thaw{nullptr, {}};
}

Server::~Server() = default;

void Server::serve() {
  auto give_up_at = std::chrono::steady_clock::time_point::max();
  for (;;) {
    const bool ended = vm_.state() == Vm::State::Ended;
    if (ended && give_up_at == std::chrono::steady_clock::time_point::max())
      give_up_at = std::chrono::steady_clock::now() + kFarewell;
    const auto resets = vm_.resets(), alarms = vm_.alarms();
    if (vm_.state() != last_state_ || resets != last_resets_ || alarms != last_alarms_) {
      last_state_ = vm_.state();
      last_resets_ = resets;
      last_alarms_ = alarms;
      ++state_changes_;
    }
    console_.write_log();
    bool busy = owes_answers();
    const bool resting = !ended && std::chrono::steady_clock::now() < rest_until_;
    std::vector<pollfd> wait{{resting ? -1 : wake_, POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (auto& connection : connections_) {
      push_events(*connection);
      const bool pending = !connection->backlog.empty();
      busy = busy || pending || has_more_to_tell(*connection);
      wait.push_back(
          {connection->socket.get(), static_cast<short>(POLLIN | (pending ? POLLOUT : 0)), 0});
    }
    const std::size_t callers_end = wait.size();
    console_.add_to(wait);
    if (ended && (!busy || std::chrono::steady_clock::now() >= give_up_at)) return;
    const int timeout = resting ? static_cast<int>(kRest.count()) : poll_timeout_ms(ended);
    (void)poll(wait.data(), wait.size(), timeout);
    eventfd_t rings = 0;
    if (eventfd_read(wake_, &rings) == 0) rest_until_ = std::chrono::steady_clock::now() + kRest;
    finish_agent_call();
    finish_verbs();
    thaw_when_due();
    for (std::size_t i = 2; i < callers_end; ++i) {
      auto& connection = connections_[i - 2];
      bool alive = true;
      if ((wait[i].revents & POLLOUT) != 0) alive = flush(*connection);
      if (alive && (wait[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
        alive = receive(*connection);
      if (alive) continue;
      if (agent_call_ && agent_call_->caller == connection.get()) agent_call_->caller = nullptr;
      if (thaw_ && thaw_->caller == connection.get()) *thaw_ = {};  // due at once
      connection.reset();
    }
    std::erase(connections_, nullptr);
    if ((wait[1].revents & POLLIN) != 0) accept_caller();
    console_.serve(std::span(wait).subspan(callers_end));
  }
}

void Server::accept_caller() {
  Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket || connections_.size() >= kMaxConnections) return;
  connections_.push_back(std::make_unique<Connection>(std::move(socket), ++callers_));
}

bool Server::receive(Connection& connection) {
  char bytes[16384];
  const ssize_t got = recv(connection.socket.get(), bytes, sizeof bytes, 0);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
  if (got > 0) connection.reader.feed({bytes, static_cast<std::size_t>(got)});
  for (;;) {
    auto frame = connection.reader.next();
    if (!frame.ok()) return false;
    if (!frame.value()) return true;
    v1::ControlRequest request;
    if (!request.ParseFromString(*frame.value())) return false;
    answer(connection, request);
    if (connection.backlog.size() > 4 * kMaxBacklog) return false;  // asks and never reads
  }
}

bool Server::flush(Connection& connection) {
  const ssize_t sent = ::send(connection.socket.get(), connection.backlog.data(),
                              connection.backlog.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  connection.backlog.erase(0, static_cast<std::size_t>(sent));
  return true;
}

void Server::answer(Connection& connection, const v1::ControlRequest& request) {
  if (auto verb = slow_verb(request)) return begin_verb(connection, request, std::move(verb));
  v1::ControlMessage message;
  auto& reply = *message.mutable_reply();
  reply.set_id(request.id());
  const bool deferred = request.has_guest_agent_call();
  const auto outcome =
      deferred ? call_guest_agent(connection, request) : obey(connection, request, reply);
  if (!outcome.ok())
    fill_error(*reply.mutable_error(), outcome.error());
  else if (deferred)
    return;  // finish_agent_call() answers
  connection.send(message);
}

Status Server::obey(Connection& connection, const v1::ControlRequest& request,
                    v1::ControlReply& reply) {
  using Verb = v1::ControlRequest;
  switch (request.verb_case()) {
    case Verb::kGetStatus: vm_.board().peripherals().ask_for_statistics(); break;
    case Verb::kPressPowerButton:
      TRY(vm_.press_power_button(request.press_power_button().restart() ? Vm::AfterPowerOff::Restart
                                                                        : Vm::AfterPowerOff::End));
      break;
    case Verb::kWatchConsole:
      connection.watches_console = true;
      connection.console_offset = request.watch_console().from_offset();
      return {};
    case Verb::kWriteConsole: {
      const auto& input = request.write_console().input();
      if (input.size() > kMaxTyped)
        return Error{Code::InvalidArgument, "CONSOLE_INPUT", "console input is over 4096 bytes"};
      reply.set_console_bytes_taken(static_cast<std::uint32_t>(vm_.type(as_bytes(input))));
      return {};
    }
    case Verb::kWatchState:
      connection.watches_state = true;
      connection.told_changes = state_changes_ - 1;  // the present state comes first
      return {};
    case Verb::kSetBalloon: {
      const std::uint64_t mib = request.set_balloon().inflate_mib();
      if (mib > vm_.config().memory_mib())
        return Error{Code::InvalidArgument, "BALLOON_TARGET", "the guest has less memory"};
      TRY(vm_.board().peripherals().set_balloon(mib << 20));
      break;
    }
    default:
      return Error{Code::Unimplemented, "CONTROL_VERB", "this reeve-vmm does not know that call"};
  }
  *reply.mutable_status() = status();
  return {};
}

std::function<Status()> Server::slow_verb(const v1::ControlRequest& request) {
  using Verb = v1::ControlRequest;
  switch (request.verb_case()) {
    case Verb::kPause: return [this] { return vm_.pause(); };
    case Verb::kResume:
      return [this] { return vm_.state() == Vm::State::Created ? vm_.start() : vm_.resume(); };
    case Verb::kReset: return [this] { return vm_.reset(); };
    case Verb::kStop:
      return [this] {
        vm_.stop();
        return Status{};
      };
    case Verb::kSave: return [this, name = request.save().file_name()] { return save(name); };
    case Verb::kDiskGrown:
      return [this, grown = request.disk_grown()] {
        return vm_.board().peripherals().grow_disk(grown.disk_id(), grown.size_bytes());
      };
    default: return {};
  }
}

void Server::begin_verb(const Connection& connection, const v1::ControlRequest& request,
                        std::function<Status()> verb) {
  {
    Lock lock(verbs_mutex_);
    verbs_waiting_.push_back({connection.number, request.id(), request.verb_case()});
  }
  verbs_.run([this, verb = std::move(verb)] {
    auto outcome = verb();
    {
      Lock lock(verbs_mutex_);
      verbs_waiting_.front().outcome = std::move(outcome);
      verbs_done_.push_back(std::move(verbs_waiting_.front()));
      verbs_waiting_.pop_front();
    }
    (void)eventfd_write(wake_, 1);
  });
}

/// Answers those whose calls are done, if they are still there.
void Server::finish_verbs() {
  std::vector<UnderWay> done;
  {
    Lock lock(verbs_mutex_);
    done = std::exchange(verbs_done_, {});
  }
  for (const auto& verb : done) {
    const auto caller = std::find_if(connections_.begin(), connections_.end(),
                                     [&](const auto& c) { return c->number == verb.caller; });
    if (caller == connections_.end()) continue;
    v1::ControlMessage message;
    auto& reply = *message.mutable_reply();
    reply.set_id(verb.id);
    if (verb.outcome.ok())
      *reply.mutable_status() = status();
    else
      fill_error(*reply.mutable_error(), verb.outcome.error());
    (*caller)->send(message);
  }
}

bool Server::owes_answers() const {
  Lock lock(verbs_mutex_);
  return !verbs_waiting_.empty() || !verbs_done_.empty();
}

/// Or about to be, or has been and its caller does not know yet. What a guest is owed is in its
/// saved state, so that nobody freezes it from here on: the saved guest would find the order, and
/// no one who knows of it.
bool Server::is_saving() const {
  constexpr auto kSaves = [](const UnderWay& verb) {
    return verb.verb == v1::ControlRequest::kSave;
  };
  Lock lock(verbs_mutex_);
  return std::ranges::any_of(verbs_waiting_, kSaves) || std::ranges::any_of(verbs_done_, kSaves);
}

/// What verbs_ does now, for a person; may be empty.
std::string Server::doing() const {
  Lock lock(verbs_mutex_);
  if (verbs_waiting_.empty()) return "";
  const auto verb = verbs_waiting_.front().verb;
  std::string text = doing_of(verb);
  if (verb == v1::ControlRequest::kSave)
    text += ", " + std::to_string(saved_bytes_ >> 20) + " MiB written so far";
  return text;
}

v1::MachineStatus Server::status() const {
  auto status = vm_.status();
  status.set_doing(doing());
  for (const auto& measure : jail_.measures()) {
    auto& out = *status.add_jail();
    out.set_name(std::string(measure.name));
    out.set_in_force(measure.in_force);
    out.set_why_not(measure.why_not);
  }
  return status;
}

Status Server::save(const std::string& file_name) {
  if (file_name.empty() || file_name[0] == '.' || file_name.find('/') != file_name.npos)
    return Error{Code::InvalidArgument, "FILE_NAME",
                 "'" + file_name + "' is not a plain file name"};
  const Fd file(openat(run_dir_, file_name.c_str(),
                       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return errno_error("making " + file_name);
  saved_bytes_ = 0;
  CountedSink sink(file.get(), saved_bytes_);
  auto saved = vm_.save(sink);
  if (saved.ok() && fsync(file.get()) != 0) saved = errno_error("writing " + file_name);
  if (!saved.ok()) unlinkat(run_dir_, file_name.c_str(), 0);
  return saved;
}

Status Server::call_guest_agent(Connection& connection, const v1::ControlRequest& request) {
  auto& peripherals = vm_.board().peripherals();
  auto* channel = peripherals.agent_channel();
  const auto& call = request.guest_agent_call();
  if (channel == nullptr)
    return Error{Code::FailedPrecondition, "GUEST_AGENT_ABSENT",
                 "the machine has no guest agent channel"};
  if (call.json().find('\n') != std::string::npos || call.timeout_ms() == 0 ||
      call.timeout_ms() > kMaxAgentTimeout || call.thaw_after_ms() > kMaxFreeze)
    return Error{Code::InvalidArgument, "GUEST_AGENT_CALL",
                 "one line, 1 to 60000 ms, and a thaw within 600000 ms"};
  if (agent_call_)
    return Error{Code::Unavailable, "GUEST_AGENT_BUSY", "another guest agent call is under way"};
  if (!channel->is_open())
    return Error{Code::Unavailable, "GUEST_AGENT_SILENT", "no guest agent runs in the guest"};
  const bool freezes = call.thaw_after_ms() != 0;
  if (freezes && is_saving())
    return Error{Code::Unavailable, "GUEST_AGENT_BUSY", "the machine is being saved"};
  const auto now = std::chrono::steady_clock::now();
  channel->set_listener([fd = wake_] { (void)eventfd_write(fd, 1); });
  if (!call.json().empty()) {
    channel->drop_lines();
    if (!peripherals.send_to_agent(call.json()))
      return Error{Code::Unavailable, "GUEST_AGENT_SILENT", "the guest agent does not read"};
  }
  if (freezes) {
    channel->owe_thaw(true);
    thaw_ = Thaw{&connection, now + std::chrono::milliseconds(call.thaw_after_ms())};
  }
  agent_call_ =
      AgentCall{&connection, request.id(), now + std::chrono::milliseconds(call.timeout_ms())};
  return {};
}

void Server::finish_agent_call() {
  if (!agent_call_) return;
  auto line = vm_.board().peripherals().agent_channel()->take_line();
  const bool late = std::chrono::steady_clock::now() >= agent_call_->deadline;
  if (!line && !late) return;
  const AgentCall call = *std::exchange(agent_call_, std::nullopt);
  if (call.caller == nullptr) return;
  v1::ControlMessage message;
  auto& reply = *message.mutable_reply();
  reply.set_id(call.id);
  if (line)
    reply.set_guest_agent_answer(std::move(*line));
  else
    fill_error(*reply.mutable_error(), Error{Code::DeadlineExceeded, "GUEST_AGENT_SILENT",
                                             "the guest agent did not answer in time"});
  call.caller->send(message);
}

void Server::thaw_when_due() {
  if (!thaw_ || std::chrono::steady_clock::now() < thaw_->due) return;
  // A channel that is full now has a guest that reads later.
  if (vm_.board().peripherals().thaw_guest())
    thaw_.reset();
  else
    *thaw_ = {nullptr, std::chrono::steady_clock::now() + kFarewell};
}

int Server::poll_timeout_ms(bool ended) const {
  if (ended) return 100;
  if (console_.is_waiting_for_guest()) return kTypingPace;
  auto next = std::chrono::steady_clock::time_point::max();
  if (agent_call_) next = agent_call_->deadline;
  if (thaw_) next = std::min(next, thaw_->due);
  if (next == std::chrono::steady_clock::time_point::max()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(next - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, kMaxFreeze));
}

bool Server::has_more_to_tell(const Connection& connection) const {
  return (connection.watches_console && connection.console_offset < vm_.console().end_offset()) ||
         (connection.watches_state && connection.told_changes != state_changes_);
}

void Server::push_events(Connection& connection) {
  if (connection.watches_state && connection.told_changes != state_changes_ &&
      connection.backlog.size() < kMaxBacklog) {
    connection.told_changes = state_changes_;
    v1::ControlMessage message;
    *message.mutable_event()->mutable_state_changed() = vm_.status();
    connection.send(message);
  }
  while (connection.watches_console && connection.backlog.size() < kMaxBacklog) {
    auto piece = vm_.console().read(connection.console_offset, kConsolePiece);
    if (piece.bytes.empty()) return;
    connection.console_offset = piece.offset + piece.bytes.size();
    v1::ControlMessage message;
    auto& output = *message.mutable_event()->mutable_console_output();
    output.set_offset(piece.offset);
    output.set_output(std::move(piece.bytes));
    connection.send(message);
  }
}

}  // namespace reeve::core::vmm
