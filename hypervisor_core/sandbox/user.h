// hypervisor_core/sandbox/user.h - the users that machines' processes become.
#pragma once

#include <cstdint>
#include <string_view>

namespace reeve::core::sandbox {

/// User (and group) numbers that no distribution hands out.
inline constexpr std::uint32_t kFirstUser = 0x70000000, kUsers = 1u << 24;

/// Made from the machine's UUID: one per machine, near enough. Who knows all machines of a host
/// sees to the rest.
std::uint32_t user_of(std::string_view machine_uuid);
/// The one to try when `user` is another machine's.
std::uint32_t user_after(std::uint32_t user);

}  // namespace reeve::core::sandbox
