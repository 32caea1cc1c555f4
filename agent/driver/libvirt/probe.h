// agent/driver/libvirt/probe.h - what a connection is and can do, asked anew at each attach.
//
// libvirt drivers differ widely (libvirt.md 5.3); nothing is concluded from a product's name but
// how a definition must look. Capabilities found: docs/guide/drivers.md lists them per driver.
#pragma once

#include <string>

#include "agent/driver/driver.h"
#include "agent/driver/libvirt/events.h"
#include "agent/driver/libvirt/handles.h"

namespace reeve::agent::libvirt {

/// What the driver needs to remember of a connection.
struct Abilities {
  std::string type{};  ///< "QEMU", "Test", "LXC", "Xen", "ESX", ...
  std::string
      domain_type{};       ///< of new guests: "kvm", "qemu", "test"; empty: we cannot define here
  bool validates = false;  ///< DEFINE_VALIDATE is known
  bool has_events = false;
};

/// Quick: a handful of calls that answer at once.
Result<Abilities> probe(virConnectPtr connect, const Subscription& subscription, bool kvm_usable);
DriverFacts facts_of(virConnectPtr connect, const std::string& uri, const Abilities& abilities);

/// May take many seconds. True when the daemon examines QEMU anew for every call that needs to know
/// it, as it does where /dev/kvm exists but runs no guest (testbed.md): each define then takes tens
/// of seconds.
bool examines_anew(virConnectPtr connect, const Abilities& abilities);
/// The sentence for it, with the remedy.
std::string slow_define_warning();

}  // namespace reeve::agent::libvirt
