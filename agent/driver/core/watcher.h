// agent/driver/core/watcher.h - one thread that hears of all vmm processes of the host.
//
// A process may be in others' hands: however much it says, it gets no more than its turn.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "agent/driver/core/vmm_process.h"
#include "base/mutex.h"

namespace reeve::agent::core_driver {

class Watcher {
 public:
  /// `changed` is called on the watcher's thread when a guest changed its state, `ended` when its
  /// process is gone and reaped.
  struct Listener {
    std::function<void(const std::string& uid)> changed{};
    std::function<void(const std::string& uid, const VmmProcess& process)> ended{};
  };
  explicit Watcher(Listener listener);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  /// Follows `process` from now on, in place of one it followed under that uid.
  void add(const std::string& uid, std::shared_ptr<const VmmProcess> process);

 private:
  struct Followed {
    std::shared_ptr<const VmmProcess> process{};
    std::optional<core::control::ControlClient> events{};
    bool unheard = false;  ///< more was there than one turn takes
    std::chrono::steady_clock::time_point rests_until{};
  };
  void run();
  void wake() const;
  /// Reads what is there, up to a turn's worth; true when that was anything, or the connection is
  /// gone.
  static bool hear(Followed& followed);

  const Listener listener_;
  const Fd wake_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Followed>> followed_ REEVE_GUARDED_BY(mutex_);
  bool stopping_ REEVE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace reeve::agent::core_driver
