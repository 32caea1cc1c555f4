#include "agent/driver/libvirt/connection.h"

#include <algorithm>
#include <cstdint>
#include <map>

#include <pthread.h>

#include "agent/driver/libvirt/error.h"
#include "agent/driver/libvirt/event_loop.h"
#include "base/log.h"

namespace reeve::agent::libvirt {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

/// Whether the daemon is on another machine. A local one that dies closes its socket; one that
/// hangs is told by the deadline of each call. libvirt 9.0 crashes when its keepalive ends a
/// connection under a call in flight (a freed event loop in virNetClientIOEventLoop), so it is used
/// only where nothing else tells.
bool is_remote(std::string_view uri) {
  const auto authority = uri.find("://");
  return authority != std::string_view::npos && uri.size() > authority + 3 &&
         uri[authority + 3] != '/';
}

std::string_view close_reason(int reason) {
  switch (reason) {
    case VIR_CONNECT_CLOSE_REASON_ERROR: return "the connection failed";
    case VIR_CONNECT_CLOSE_REASON_EOF: return "the daemon closed the connection";
    case VIR_CONNECT_CLOSE_REASON_KEEPALIVE: return "the daemon stopped answering";
    default: return "the connection was closed";
  }
}

/// Credentials come from libvirt's own auth file (for ESX and vCenter), never from a prompt.
virConnectAuth no_prompt() {
  return {.credtype = nullptr,
          .ncredtype = 0,
          .cb = [](virConnectCredentialPtr, unsigned, void*) { return -1; },
          .cbdata = nullptr};
}

}  // namespace

/// What libvirt's close callback is given instead of a pointer. It would have to free a pointer,
/// and drivers that have no such callback (test, ESX) accept one and never do.
struct Connection::Numbers {
  Mutex mutex;
  std::uintptr_t last REEVE_GUARDED_BY(mutex) = 0;
  std::map<std::uintptr_t, std::weak_ptr<State>> states REEVE_GUARDED_BY(mutex);

  static Numbers& all() {
    static auto* const numbers = new Numbers;  // libvirt's event loop outlives static objects
    return *numbers;
  }
  std::uintptr_t add(const std::shared_ptr<State>& state) {
    Lock lock(mutex);
    states.emplace(++last, state);
    return last;
  }
  void remove(std::uintptr_t number) {
    Lock lock(mutex);
    states.erase(number);
  }
  std::shared_ptr<State> find(std::uintptr_t number) {
    Lock lock(mutex);
    const auto found = states.find(number);
    return found == states.end() ? nullptr : found->second.lock();
  }
};

void Connection::on_close(virConnectPtr /*connect*/, int reason, void* opaque) {
  const auto state = Numbers::all().find(reinterpret_cast<std::uintptr_t>(opaque));
  if (!state) return;
  Lock lock(state->mutex);
  state->lost = true;
  state->failure = close_reason(reason);
  state->changed.notify_all();
}

Connection::Connection(ConnectionOptions options, ConnectionHooks hooks, Random& random)
    : options_(std::move(options)), hooks_(std::move(hooks)), random_(random) {
  state_->number = Numbers::all().add(state_);
  keeper_ = std::thread([this] { keep(); });
  pthread_setname_np(keeper_.native_handle(), "libvirt-connect");
}

Connection::~Connection() {
  {
    Lock lock(state_->mutex);
    state_->stopping = true;
    state_->changed.notify_all();
  }
  keeper_.join();
  Numbers::all().remove(state_->number);
}

Result<Connect> Connection::get() const {
  Lock lock(state_->mutex);
  if (state_->connect && !state_->lost) return state_->connect;
  return Error(Code::Unavailable, "HYPERVISOR_DOWN",
               "no connection to " + options_.uri + ": " + state_->failure)
      .remedy("Check that the daemon runs and that the agent may use it.");
}

void Connection::wait_for_first_attempt(milliseconds limit) const {
  const auto end = steady_clock::now() + limit;
  Lock lock(state_->mutex);
  while (!state_->attempted && steady_clock::now() < end)
    state_->changed.wait_for(lock, end - steady_clock::now());
}

void Connection::report_failure(const Connect& connect) {
  if (virConnectIsAlive(connect.get()) == 1) return;
  Lock lock(state_->mutex);
  if (state_->connect != connect || state_->lost) return;
  state_->lost = true;
  state_->failure = "the connection broke";
  state_->changed.notify_all();
}

void Connection::keep() {
  int failures = 0;
  while (!is_stopping()) {
    auto opened = open();
    if (!opened.ok()) {
      note_failure(opened.error());
      if (!wait_before_retry(failures++)) return;
      continue;
    }
    failures = 0;
    const Connect connect = std::move(opened).value();
    publish(connect);
    const bool lost = wait_until_lost();
    close(connect);
    if (!lost) return;
  }
}

Result<Connect> Connection::open() {
  return calls_.run<Connect>(
      "connecting to " + options_.uri, options_.open_deadline,
      [options = options_, attach = hooks_.attach, state = state_]() -> Result<Connect> {
        return open_now(options, attach, state);
      });
}

Result<Connect> Connection::open_now(const ConnectionOptions& options,
                                     const std::function<Status(const Connect&)>& attach,
                                     const std::shared_ptr<State>& state) {
  TRY(ensure_event_loop());
  auto auth = no_prompt();
  Connect connect = own_connect(virConnectOpenAuth(options.uri.c_str(), &auth, 0));
  if (!connect) return last_error("opening");
  {
    Lock lock(state->mutex);
    state->lost = false;
  }
  // Neither is supported everywhere; without them a failing call tells (report_failure).
  if (options.keepalive_interval.count() > 0 && is_remote(options.uri))
    virConnectSetKeepAlive(connect.get(), static_cast<int>(options.keepalive_interval.count()),
                           options.keepalive_count);
  virConnectRegisterCloseCallback(connect.get(), &Connection::on_close,
                                  reinterpret_cast<void*>(state->number), nullptr);
  TRY(attach(connect));
  return connect;
}

void Connection::publish(const Connect& connect) {
  {
    Lock lock(state_->mutex);
    state_->connect = connect;
    state_->attempted = true;
    state_->changed.notify_all();
  }
  log::info("hypervisor connected", {{"uri", options_.uri}});
  hooks_.attached(connect);
}

void Connection::note_failure(const Error& error) {
  Lock lock(state_->mutex);
  if (state_->failure != error.message())
    log::warning("hypervisor not reachable", error, {{"uri", options_.uri}});
  state_->failure = error.message();
  state_->attempted = true;
  state_->changed.notify_all();
}

void Connection::close(const Connect& connect) {
  {
    Lock lock(state_->mutex);
    state_->connect.reset();
    if (state_->lost)
      log::warning("hypervisor connection lost", {{"uri", options_.uri}, {"why", state_->failure}});
  }
  // Even these may wait for a daemon that hangs.
  static_cast<void>(calls_.run<Connect>(
      "closing", milliseconds(2000), [detach = hooks_.detach, connect]() -> Result<Connect> {
        detach(connect);
        virConnectUnregisterCloseCallback(connect.get(), &Connection::on_close);
        return connect;
      }));
}

bool Connection::wait_until_lost() {
  Lock lock(state_->mutex);
  while (!state_->lost && !state_->stopping) state_->changed.wait(lock);
  return !state_->stopping;
}

bool Connection::wait_before_retry(int failures) {
  auto delay = options_.first_retry * (1LL << std::min(failures, 16));
  delay = std::min<milliseconds>(delay, options_.longest_retry);
  // Between half and all of it, so that many agents of one daemon do not return in step.
  delay =
      delay / 2 + milliseconds(random_.below(static_cast<std::uint64_t>(delay.count()) / 2 + 1));
  const auto end = steady_clock::now() + delay;
  Lock lock(state_->mutex);
  while (!state_->stopping && steady_clock::now() < end)
    state_->changed.wait_for(lock, end - steady_clock::now());
  return !state_->stopping;
}

bool Connection::is_stopping() const {
  Lock lock(state_->mutex);
  return state_->stopping;
}

}  // namespace reeve::agent::libvirt
