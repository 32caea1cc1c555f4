// agent/guest/facts.h - what a guest says of itself, made harmless: short, one line, few.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace reeve::agent {

/// A network card as the guest has it.
struct GuestNicFacts {
  std::string name{};
  std::string mac{};  ///< lower case; empty when it has none
  std::vector<std::string>
      addresses{};  ///< as text, without prefix length; no loopback, link-local last
  bool operator==(const GuestNicFacts&) const = default;
};

/// Empty what the guest does not tell.
struct GuestFacts {
  std::string os_id{};           ///< "debian"
  std::string os_name{};         ///< "Debian GNU/Linux 12 (bookworm)"
  std::string os_version{};      ///< "12"
  std::string kernel_release{};  ///< "6.1.0-18-amd64"
  std::string machine{};         ///< "x86_64"
  std::string host_name{};
  std::vector<GuestNicFacts> nics{};
  bool operator==(const GuestFacts&) const = default;
};

inline constexpr std::size_t kMaxText = 256;

/// At most kMaxText bytes of UTF-8, and nothing that would act on a terminal.
std::string tame(std::string_view text);
/// True for what an IP address can be made of.
bool looks_like_address(std::string_view text);
bool is_loopback(std::string_view address);
bool is_link_local(std::string_view address);

/// Cut to what is kept and shown of a guest: 16 cards, 8 addresses each, all in an order that does
/// not change from answer to answer; texts tamed.
GuestFacts bounded(GuestFacts facts);
/// At most 16 of them, card by card.
std::vector<std::string> addresses_of(const GuestFacts& facts);

}  // namespace reeve::agent
