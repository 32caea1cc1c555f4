// agent/driver/libvirt/handles.h - libvirt objects that release themselves.
#pragma once

#include <cstdlib>
#include <memory>

#include <libvirt/libvirt.h>

namespace reeve::agent::libvirt {

struct FreeDomain {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
struct FreeText {
  void operator()(char* text) const { std::free(text); }  // NOLINT: libvirt allocates with malloc
};

using Domain = std::unique_ptr<virDomain, FreeDomain>;
/// A string libvirt handed over.
using Text = std::unique_ptr<char, FreeText>;
/// A connection, shared by the connection keeper and the calls under way on it.
using Connect = std::shared_ptr<virConnect>;

inline Connect own_connect(virConnectPtr raw) {
  return Connect(raw, [](virConnectPtr connect) { virConnectClose(connect); });
}

}  // namespace reeve::agent::libvirt
