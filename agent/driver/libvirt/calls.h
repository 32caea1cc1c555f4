// agent/driver/libvirt/calls.h - a deadline on every libvirt call.
//
// libvirt's calls are synchronous and may block without limit (hung storage, another job on the
// guest, a stopped daemon). They run on a few threads of their own; the caller waits for its
// deadline and no longer.
//
//   auto xml = calls.run<std::string>("reading guest", 10s, [connect, uid] { ... });
//
// A call given up while it waited for a thread never runs. One given up while it ran is overdue:
// its effect is unknown, its thread is taken until libvirt returns. With every thread overdue,
// calls fail at once.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"

namespace reeve::agent::libvirt {

class Calls {
 public:
  /// `name` of at most 13 characters names the threads (name-0, ...).
  Calls(const std::string& name, std::size_t threads);
  /// Does not wait for overdue calls: libvirt cannot be interrupted, their threads are let go.
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  /// Runs `work` on a thread; it must own everything it uses, since it may outlive the wait and us.
  /// DeadlineExceeded/HYPERVISOR_BUSY, or the work's own error.
  template <class T>
  Result<T> run(std::string_view attempt, std::chrono::milliseconds deadline,
                std::function<Result<T>()> work) {
    auto outcome = std::make_shared<std::optional<Result<T>>>();
    const auto waited = wait_for(attempt, deadline,
                                 [outcome, work = std::move(work)] { outcome->emplace(work()); });
    if (!waited.ok()) return waited.error();
    return std::move(**outcome);
  }

  /// Calls that run past their caller's deadline now.
  std::size_t overdue() const;

 private:
  enum class Stage { Waiting, Running, Done, Overdue };
  struct Call {
    std::function<void()> work{};
    Stage stage = Stage::Waiting;
  };
  /// Shared with threads that outlive us.
  struct State {
    Mutex mutex;
    CondVar wake;      ///< of threads
    CondVar finished;  ///< of callers
    std::deque<std::shared_ptr<Call>> waiting REEVE_GUARDED_BY(mutex);
    std::size_t overdue REEVE_GUARDED_BY(mutex) = 0;
    bool stopping REEVE_GUARDED_BY(mutex) = false;
  };

  Status wait_for(std::string_view attempt, std::chrono::milliseconds deadline,
                  std::function<void()> work);
  static void serve(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_ = std::make_shared<State>();
  std::vector<std::thread> threads_;
};

}  // namespace reeve::agent::libvirt
