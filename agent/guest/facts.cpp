#include "agent/guest/facts.h"

#include <algorithm>

#include "base/text.h"

namespace reeve::agent {
namespace {

constexpr std::size_t kMostNics = 16;
constexpr std::size_t kMostAddresses = 8;
constexpr std::size_t kMostInAll = 16;

void bound(GuestNicFacts& nic) {
  nic.name = tame(nic.name);
  nic.mac = tame(nic.mac);
  auto& addresses = nic.addresses;
  std::erase_if(addresses, [](const auto& a) { return !looks_like_address(a) || is_loopback(a); });
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  std::stable_partition(addresses.begin(), addresses.end(),
                        [](const auto& a) { return !is_link_local(a); });
  if (addresses.size() > kMostAddresses) addresses.resize(kMostAddresses);
}

}  // namespace

std::string tame(std::string_view text) {
  std::string out(text.substr(0, kMaxText));
  // A character of several bytes that the cut went through.
  for (int i = 0; i < 4 && text.size() > kMaxText && !is_utf8(out); ++i) out.pop_back();
  if (!is_utf8(out))
    for (char& c : out)
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  // C1 control characters are two bytes in UTF-8: 0xc2 and 0x80 to 0x9f.
  std::string kept;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto byte = static_cast<unsigned char>(out[i]);
    const auto next = i + 1 < out.size() ? static_cast<unsigned char>(out[i + 1]) : 0u;
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0)
      ++i;
    else if (byte >= 0x20 && byte != 0x7f)
      kept.push_back(out[i]);
  }
  return kept;
}

bool looks_like_address(std::string_view text) {
  return !text.empty() && text.size() <= 45 &&
         text.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
}

bool is_loopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1";
}

bool is_link_local(std::string_view address) {
  constexpr std::size_t kSixPrefix = 5;
  const std::string_view six = address.substr(0, kSixPrefix);
  return address.starts_with("169.254.") || six == "fe80:" || six == "FE80:";
}

GuestFacts bounded(GuestFacts facts) {
  for (auto* text : {&facts.os_id, &facts.os_name, &facts.os_version, &facts.kernel_release,
                     &facts.machine, &facts.host_name})
    *text = tame(*text);
  for (auto& nic : facts.nics) bound(nic);
  std::sort(facts.nics.begin(), facts.nics.end(), [](const auto& a, const auto& b) {
    return std::tie(a.name, a.mac) < std::tie(b.name, b.mac);
  });
  if (facts.nics.size() > kMostNics) facts.nics.resize(kMostNics);
  return facts;
}

std::vector<std::string> addresses_of(const GuestFacts& facts) {
  std::vector<std::string> all;
  for (const auto& nic : facts.nics)
    for (const auto& address : nic.addresses)
      if (all.size() < kMostInAll) all.push_back(address);
  return all;
}

}  // namespace reeve::agent
