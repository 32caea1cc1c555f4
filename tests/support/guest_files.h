// tests/support/guest_files.h - the quick guest of tools/guest, for tests that boot a real Linux,
// and disks.
#pragma once

#include <string>

namespace reeve::test {

struct GuestFiles {
  std::string kernel{};     ///< uncompressed, enters through PVH
  std::string initramfs{};  ///< says "REEVE-GUEST UP" on ttyS0, answers the power button
};

/// Prepares it on the first call (a download of one Debian package), then finds it in the cache.
GuestFiles quick_guest();
/// The same with qemu-guest-agent in it.
GuestFiles agent_guest();

/// Disks to import; the first partition of one, all of the other is ext4 with hello.txt.
struct GuestDisks {
  std::string bootable{};  ///< qcow2: a BIOS boots the quick guest from it
  std::string data{};      ///< raw, 64 MiB
};
GuestDisks guest_disks();

}  // namespace reeve::test
