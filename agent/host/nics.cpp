#include <algorithm>
#include <bit>
#include <filesystem>
#include <map>
#include <memory>
#include <span>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include "agent/host/fingerprint.h"

namespace reeve::agent {
namespace {

int prefix_of(const sockaddr* mask) {
  if (!mask) return 0;
  int bits = 0;
  const auto count = [&](const void* bytes, std::size_t size) {
    for (const auto byte : std::span(static_cast<const std::uint8_t*>(bytes), size))
      bits += std::popcount(byte);
  };
  if (mask->sa_family == AF_INET)
    count(&reinterpret_cast<const sockaddr_in*>(mask)->sin_addr, sizeof(in_addr));
  else
    count(&reinterpret_cast<const sockaddr_in6*>(mask)->sin6_addr, sizeof(in6_addr));
  return bits;
}

std::map<std::string, std::vector<std::string>> addresses_by_nic() {
  std::map<std::string, std::vector<std::string>> out;
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) return out;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all(raw, ::freeifaddrs);
  for (const ifaddrs* entry = raw; entry; entry = entry->ifa_next) {
    if (!entry->ifa_addr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const void* address =
        family == AF_INET ? static_cast<const void*>(
                                &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr)
                          : &reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr;
    char text[INET6_ADDRSTRLEN];
    if (!::inet_ntop(family, address, text, sizeof text)) continue;
    out[entry->ifa_name].push_back(std::string(text) + "/" +
                                   std::to_string(prefix_of(entry->ifa_netmask)));
  }
  for (auto& [name, addresses] : out) std::sort(addresses.begin(), addresses.end());
  return out;
}

bool belongs_to_guest(const std::string& name) {
  return name.starts_with("vnet") || name.starts_with("tap") || name.starts_with("macvtap");
}

}  // namespace

std::vector<reeve::v1::NicFacts> read_nics(const HostRoot& root) {
  std::vector<reeve::v1::NicFacts> nics;
  const auto addresses =
      root.empty() ? addresses_by_nic() : std::map<std::string, std::vector<std::string>>{};
  for (const auto& name : list_names(root + "/sys/class/net")) {
    if (name == "lo" || name == "bonding_masters" || belongs_to_guest(name)) continue;
    const std::string folder = root + "/sys/class/net/" + name;
    reeve::v1::NicFacts nic;
    nic.set_device(name);
    nic.set_mac(read_text(folder + "/address"));
    nic.set_up(read_text(folder + "/operstate") == "up");
    // Reads as an error or -1 where the driver does not know.
    nic.set_speed_mbps(static_cast<std::int32_t>(
        std::max<std::int64_t>(0, to_number(read_text(folder + "/speed")))));
    std::error_code error;
    nic.set_bridge(std::filesystem::is_directory(folder + "/bridge", error));
    if (const auto it = addresses.find(name); it != addresses.end())
      for (const auto& address : it->second) nic.add_addresses(address);
    nics.push_back(std::move(nic));
  }
  return nics;
}

}  // namespace reeve::agent
