// server/app/mac_pool.h - the addresses that the server gives to the network cards of machines: all
// that begin with one prefix of three bytes. A card keeps its address for the life of its machine.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "db/sqlite/transaction.h"

namespace reeve::server {

class MacPool {
 public:
  MacPool() = default;
  /// "56:ab:cd". InvalidArgument/BAD_MAC_PREFIX unless it begins unicast addresses, in lower case.
  static Result<MacPool> create(std::string_view prefix);
  /// The pool of a server that was not told one: locally administered, and another for every
  /// server, so that two of them on one network do not give out the same addresses.
  static MacPool of_server(std::string_view server_uid);

  const std::string& prefix() const { return prefix_; }
  std::string address(std::uint32_t number) const;  ///< of its lowest 24 bits

  /// The first address from `number` on that no machine has and that is not in `besides`.
  /// ResourceExhausted/MAC_POOL_FULL after a long run of taken ones.
  Result<std::string> free_address(db::ReadTransaction& tx, std::uint32_t number,
                                   const std::set<std::string>& besides) const;

 private:
  explicit MacPool(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string prefix_{"56:00:00"};
};

/// AlreadyExists/MAC_TAKEN naming the machine that has the address.
Status require_free_mac(db::ReadTransaction& tx, const std::string& mac);

}  // namespace reeve::server
