#include "hypervisor_core/sandbox/landlock.h"

#include <cerrno>
#include <cstdint>

#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

namespace reeve::core::sandbox {
namespace {

/// The ruleset of ABI 6; older headers end after the first member. Older kernels want it shorter.
struct Ruleset {
  std::uint64_t files = 0;
  std::uint64_t network = 0;
  std::uint64_t scoped = 0;
};
constexpr std::uint64_t kTruncate = 1u << 14, kDeviceIoctl = 1u << 15;
constexpr std::uint64_t kBindTcp = 1u << 0, kConnectTcp = 1u << 1;
constexpr std::uint64_t kAbstractSockets = 1u << 0;
constexpr std::uint64_t kPlainFiles = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                      LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                      LANDLOCK_ACCESS_FS_REMOVE_FILE | kTruncate;

Ruleset everything(long abi, std::size_t& size) {
  Ruleset rules{.files = (1u << 13) - 1};
  size = sizeof rules.files;
  if (abi >= 2) rules.files |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) rules.files |= kTruncate;
  if (abi >= 4) {
    rules.network = kBindTcp | kConnectTcp;
    size += sizeof rules.network;
  }
  if (abi >= 5) rules.files |= kDeviceIoctl;
  if (abi >= 6) {
    rules.scoped = kAbstractSockets;
    size += sizeof rules.scoped;
  }
  return rules;
}

}  // namespace

Status restrict_files(Files files, int folder) {
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1)
    return Error{Code::Unimplemented, "NO_LANDLOCK", "the kernel has no Landlock, or it is off"};
  std::size_t size = 0;
  const Ruleset rules = everything(abi, size);
  const Fd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &rules, size, 0)));
  if (!ruleset) return errno_error("making a Landlock ruleset");
  if (files == Files::BelowFolder) {
    landlock_path_beneath_attr below{};
    below.allowed_access = kPlainFiles & rules.files;
    below.parent_fd = folder;
    if (syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &below, 0) != 0)
      return errno_error("adding a Landlock rule");
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    return errno_error("landlock_restrict_self");
  return {};
}

}  // namespace reeve::core::sandbox
