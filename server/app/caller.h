// server/app/caller.h - who is calling, and how a service answers.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "reeve/v1/authorization.pb.h"

namespace reeve::server {

/// Permissions as a bit per enumerator of v1::Permission.
class PermissionSet {
 public:
  constexpr PermissionSet() = default;
  static constexpr PermissionSet all() { return PermissionSet{0xffff'ffffU}; }

  constexpr PermissionSet with(v1::Permission permission) const {
    return PermissionSet{bits_ | bit(permission)};
  }
  constexpr bool has(v1::Permission permission) const { return (bits_ & bit(permission)) != 0; }
  constexpr std::uint32_t bits() const { return bits_; }
  friend constexpr auto operator<=>(PermissionSet, PermissionSet) = default;

 private:
  constexpr explicit PermissionSet(std::uint32_t bits) : bits_(bits) {}
  static constexpr std::uint32_t bit(v1::Permission permission) {
    return 1U << static_cast<unsigned>(permission);
  }
  std::uint32_t bits_ = 0;
};

/// Made by the front door, passed down by reference. It has checked the method's permission
/// already; services use `permissions` only to say in allowed_actions what else this caller may do.
struct Caller {
  std::string actor{};  ///< "tokens/{uid}"
  std::string peer{};   ///< network address
  PermissionSet permissions{};
  /// False: a service audits its successful changes itself, in the transaction that makes them, so
  /// that there is no change without its row; the front door audits everything else (refusals,
  /// other methods). True: the front door audits successes too, and services write no rows.
  bool audited_by_front_door = false;
};

/// How a service answers: called exactly once, on any thread, possibly before the call returns.
template <class T>
using Reply = std::function<void(Result<T>)>;

}  // namespace reeve::server
