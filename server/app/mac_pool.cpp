#include "server/app/mac_pool.h"

#include <cstdio>

#include "db/repo/vm_repo.h"
#include "server/app/validate.h"
#include "server/app/words.h"

namespace reeve::server {

Result<MacPool> MacPool::create(std::string_view prefix) {
  const std::string text(prefix);
  if (is_mac(text + ":00:00:00")) return MacPool(text);
  return Error(Code::InvalidArgument, "BAD_MAC_PREFIX",
               "'" + text +
                   "' is not three bytes of unicast addresses such as 52:54:00, in lower "
                   "case");
}

MacPool MacPool::of_server(std::string_view server_uid) {
  // Locally administered, unicast, and apart from 52:54:00, which others draw from.
  std::string digits;
  for (const char c : server_uid)
    if (c != '-' && digits.size() < 4) digits += c;
  digits.resize(4, '0');
  return MacPool("56:" + digits.substr(0, 2) + ":" + digits.substr(2));
}

std::string MacPool::address(std::uint32_t number) const {
  char text[18];
  std::snprintf(text, sizeof text, "%s:%02x:%02x:%02x", prefix_.c_str(), number >> 16 & 0xff,
                number >> 8 & 0xff, number & 0xff);
  return text;
}

Result<std::string> MacPool::free_address(db::ReadTransaction& tx, std::uint32_t number,
                                          const std::set<std::string>& besides) const {
  // The start is drawn at random, so that a run this long means that next to nothing is left.
  constexpr std::uint32_t kTries = 1000;
  db::VmReader vms(tx);
  for (std::uint32_t i = 0; i < kTries; ++i) {
    auto candidate = address(number + i);
    if (besides.contains(candidate)) continue;
    const auto holder = vms.get_by_mac(candidate);
    if (holder.ok()) continue;
    if (holder.error().code() != Code::NotFound) return holder.error();
    return candidate;
  }
  return Error(Code::ResourceExhausted, "MAC_POOL_FULL",
               "the addresses " + prefix_ + ":xx:xx:xx are as good as used up: " +
                   std::to_string(kTries) + " in a row are taken")
      .remedy("give the server another mac_prefix, or the network card an address");
}

Status require_free_mac(db::ReadTransaction& tx, const std::string& mac) {
  const auto holder = db::VmReader(tx).get_by_mac(mac);
  if (!holder.ok())
    return holder.error().code() == Code::NotFound ? Status{} : Status(holder.error());
  return Error(Code::AlreadyExists, "MAC_TAKEN",
               "address " + mac + " belongs to a network card of machine '" + holder.value().name +
                   "'")
      .resource(vm_name(holder.value().uid))
      .remedy("leave the address out to be given a free one, or delete that machine first")
      .with("mac", mac);
}

}  // namespace reeve::server
