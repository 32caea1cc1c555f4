#include "agent/driver/libvirt/event_loop.h"

#include <thread>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>

#include "agent/driver/libvirt/error.h"
#include "base/log.h"

namespace reeve::agent::libvirt {

namespace {

void ignore_timer(int /*timer*/, void* /*opaque*/) {}

void run_for_ever() {
  for (;;) {
    if (virEventRunDefaultImpl() < 0)
      log::error("libvirt event loop failed", last_error("running the libvirt event loop"));
  }
}

Status start() {
  // Errors reach callers as values; libvirt would print them on stderr too.
  virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
  if (virInitialize() < 0) return last_error("initialising libvirt");
  if (virEventRegisterDefaultImpl() < 0) return last_error("registering the libvirt event loop");
  // A pass over an empty set of handles and timers would return at once, for ever.
  constexpr int kIdleMillis = 60'000;
  if (virEventAddTimeout(kIdleMillis, ignore_timer, nullptr, nullptr) < 0)
    return last_error("arming the libvirt event loop");
  std::thread thread(run_for_ever);
  pthread_setname_np(thread.native_handle(), "libvirt-events");
  thread.detach();  // for the life of the process: callbacks may come after the last close
  return {};
}

}  // namespace

Status ensure_event_loop() {
  static const Status outcome = start();
  return outcome;
}

}  // namespace reeve::agent::libvirt
