#include "agent/driver/libvirt/events.h"

#include <array>
#include <utility>

namespace reeve::agent::libvirt {

namespace {

std::string uid_of(virDomainPtr domain) {
  std::array<char, VIR_UUID_STRING_BUFLEN> text{};
  if (virDomainGetUUIDString(domain, text.data()) < 0) return {};  // "all may have changed"
  return text.data();
}

void tell(virDomainPtr domain, void* opaque, Event event = Event::Change) {
  (*static_cast<std::shared_ptr<EventSink>*>(opaque))->tell(uid_of(domain), event);
}

// One function per callback signature; libvirt casts them all to the generic one.
int on_lifecycle(virConnectPtr /*connect*/, virDomainPtr domain, int /*event*/, int /*detail*/,
                 void* opaque) {
  tell(domain, opaque);
  return 0;
}
void on_reboot(virConnectPtr /*connect*/, virDomainPtr domain, void* opaque) {
  tell(domain, opaque, Event::Reboot);
}
void on_agent(virConnectPtr /*connect*/, virDomainPtr domain, int /*state*/, int /*reason*/,
              void* opaque) {
  tell(domain, opaque);
}
void on_metadata(virConnectPtr /*connect*/, virDomainPtr domain, int /*type*/, const char* /*uri*/,
                 void* opaque) {
  tell(domain, opaque);
}
void on_balloon(virConnectPtr /*connect*/, virDomainPtr domain, unsigned long long /*actual*/,
                void* opaque) {
  tell(domain, opaque);
}
void on_device(virConnectPtr /*connect*/, virDomainPtr domain, const char* /*alias*/,
               void* opaque) {
  tell(domain, opaque);
}

}  // namespace

void EventSink::listen(Changed changed) {
  Lock lock(mutex_);
  changed_ = std::move(changed);
}

void EventSink::tell(const std::string& uid, Event event) {
  internal_(uid, event);
  Lock lock(mutex_);
  if (changed_) changed_(uid);
}

Subscription subscribe(virConnectPtr connect, const std::shared_ptr<EventSink>& sink) {
  const std::array<std::pair<int, virConnectDomainEventGenericCallback>, 7> kinds{{
      {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
      {VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot)},
      {VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_agent)},
      {VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata)},
      {VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_balloon)},
      {VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device)},
      {VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device)},
  }};
  Subscription subscription;
  for (const auto& [kind, callback] : kinds) {
    auto opaque = std::make_unique<std::shared_ptr<EventSink>>(sink);
    const int id = virConnectDomainEventRegisterAny(
        connect, nullptr, kind, callback, opaque.get(),
        [](void* shared) { delete static_cast<std::shared_ptr<EventSink>*>(shared); });
    if (id < 0) continue;
    static_cast<void>(opaque.release());  // libvirt's now
    subscription.callback_ids.push_back(id);
    if (kind == VIR_DOMAIN_EVENT_ID_LIFECYCLE) subscription.has_lifecycle = true;
  }
  return subscription;
}

void unsubscribe(virConnectPtr connect, const Subscription& subscription) {
  for (const int id : subscription.callback_ids) virConnectDomainEventDeregisterAny(connect, id);
}

}  // namespace reeve::agent::libvirt
