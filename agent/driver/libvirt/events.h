// agent/driver/libvirt/events.h - libvirt's domain events as "guest uid may have changed".
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/driver/libvirt/handles.h"
#include "base/mutex.h"

namespace reeve::agent::libvirt {

/// Where events go. Shared by the driver and libvirt, which may call it once more after the last
/// close.
class EventSink {
 public:
  using Changed = std::function<void(std::string uid)>;

  /// Called first, with every event, on libvirt's event thread; must not block.
  explicit EventSink(Changed internal) : internal_(std::move(internal)) {}

  /// Replaces the listener; when it returns the former one is not called any more.
  void listen(Changed changed);
  void tell(const std::string& uid);

 private:
  Mutex mutex_;
  const Changed internal_;
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
