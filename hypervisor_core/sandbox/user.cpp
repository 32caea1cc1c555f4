#include "hypervisor_core/sandbox/user.h"

namespace reeve::core::sandbox {

std::uint32_t user_of(std::string_view machine_uuid) {
  std::uint32_t hash = 2166136261;  // FNV-1a
  for (const char c : machine_uuid) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619;
  return kFirstUser + (hash ^ (hash >> 24)) % kUsers;
}

std::uint32_t user_after(std::uint32_t user) {
  return kFirstUser + (user - kFirstUser + 1) % kUsers;
}

}  // namespace reeve::core::sandbox
