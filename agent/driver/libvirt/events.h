// agent/driver/libvirt/events.h - libvirt's domain events as "guest uid may have changed".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/driver/libvirt/handles.h"
#include "base/mutex.h"

namespace reeve::agent::libvirt {

enum class Event : std::uint8_t { Change, Reboot };

/// Where events go. Shared by the driver and libvirt, which may call it once more after the last
/// close.
class EventSink {
 public:
  using Changed = std::function<void(std::string uid)>;

  using Internal = std::function<void(const std::string& uid, Event event)>;

  /// `internal` is called first, with every event, on libvirt's event thread; must not block.
  explicit EventSink(Internal internal) : internal_(std::move(internal)) {}

  /// Replaces the listener; when it returns the former one is not called any more.
  void listen(Changed changed);
  void tell(const std::string& uid, Event event);

 private:
  Mutex mutex_;
  const Internal internal_;
  Changed changed_ REEVE_GUARDED_BY(mutex_);
};

/// Events of one connection. Kept by the connection's owner until it is gone.
struct Subscription {
  std::vector<int> callback_ids{};
  bool has_lifecycle = false;  ///< without it the driver must be polled
};

/// Registers for what the connection offers; each kind it lacks is left out.
Subscription subscribe(virConnectPtr connect, const std::shared_ptr<EventSink>& sink);
/// Also needed on a broken connection: registered callbacks keep it in memory.
void unsubscribe(virConnectPtr connect, const Subscription& subscription);

}  // namespace reeve::agent::libvirt
