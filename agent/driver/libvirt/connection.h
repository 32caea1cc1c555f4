// agent/driver/libvirt/connection.h - one libvirt connection, kept alive.
//
// A thread of its own ("libvirt-connect") opens the connection, lets `attach` register and probe,
// hands it out, and when libvirt says it is gone (keepalive, EOF, error) starts again, waiting
// longer after each failure, with jitter. Nothing of an old connection is carried over: `attach`
// runs anew each time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "agent/driver/libvirt/calls.h"
#include "agent/driver/libvirt/handles.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/status.h"

namespace reeve::agent::libvirt {

struct ConnectionOptions {
  std::string uri{};
  std::chrono::seconds keepalive_interval{5};  ///< 0: none
  unsigned keepalive_count = 3;                ///< unanswered probes that end the connection
  std::chrono::milliseconds first_retry{500};
  std::chrono::milliseconds longest_retry{std::chrono::seconds(30)};
  std::chrono::milliseconds open_deadline{std::chrono::seconds(60)};
};

/// What an owner does with each new connection; both run on threads of the connection.
struct ConnectionHooks {
  /// Before it is handed out: register events, probe. An error closes it and counts as a failed
  /// attempt.
  std::function<Status(const Connect&)> attach{};
  /// After it was handed out: tell others. May take its time.
  std::function<void(const Connect&)> attached{};
  /// It is gone: unregister what attach registered. Calls on it fail.
  std::function<void(const Connect&)> detach{};
};

class Connection {
 public:
  Connection(ConnectionOptions options, ConnectionHooks hooks, Random& random);
  /// Closes. Hooks are not called afterwards, unless an open is overdue: they must own what they
  /// use.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// The live connection; Unavailable/HYPERVISOR_DOWN with the reason of the last failure.
  Result<Connect> get() const;
  /// Waits until the first attempt has ended, well or not, at most `limit`.
  void wait_for_first_attempt(std::chrono::milliseconds limit) const;
  /// A call on `connect` failed as if the connection were gone: have it checked.
  void report_failure(const Connect& connect);

 private:
  /// Shared with calls to libvirt that are overdue.
  struct State {
    std::uintptr_t number = 0;  ///< among Numbers; before the first connection
    mutable Mutex mutex;
    CondVar changed;
    Connect connect REEVE_GUARDED_BY(mutex);
    std::string failure REEVE_GUARDED_BY(mutex) = "not connected yet";
    bool lost REEVE_GUARDED_BY(mutex) = false;  ///< of the current connection
    bool stopping REEVE_GUARDED_BY(mutex) = false;
    bool attempted REEVE_GUARDED_BY(mutex) = false;  ///< the first attempt has ended
  };

  struct Numbers;

  void keep();
  Result<Connect> open();
  static Result<Connect> open_now(const ConnectionOptions& options,
                                  const std::function<Status(const Connect&)>& attach,
                                  const std::shared_ptr<State>& state);
  static void on_close(virConnectPtr connect, int reason, void* opaque);
  void publish(const Connect& connect);
  void note_failure(const Error& error);
  void close(const Connect& connect);
  /// False when stopping.
  bool wait_until_lost();
  bool wait_before_retry(int failures);
  bool is_stopping() const;

  const ConnectionOptions options_;
  const ConnectionHooks hooks_;
  Random& random_;  // used on the keeper thread only; outlives us
  const std::shared_ptr<State> state_ = std::make_shared<State>();
  Calls calls_{"libvirt-open", 1};
  std::thread keeper_;
};

}  // namespace reeve::agent::libvirt
