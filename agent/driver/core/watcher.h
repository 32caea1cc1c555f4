// agent/driver/core/watcher.h - one thread that hears of all vmm processes of the host.
#pragma once

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
  };
  void run();
  void wake() const;
  /// Reads what is there; false when the connection is gone.
  static bool drain(core::control::ControlClient& events);

  const Listener listener_;
  const Fd wake_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Followed>> followed_ REEVE_GUARDED_BY(mutex_);
  bool stopping_ REEVE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace reeve::agent::core_driver
