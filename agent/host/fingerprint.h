// agent/host/fingerprint.h - what kind of machine this is, read from files below a root folder ("/"
// in the daemon, a fixture in tests). What is missing or garbled stays unset; nothing here fails.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "reeve/v1/host.pb.h"

namespace reeve::agent {

/// Root of /proc, /sys and /etc, without a slash at its end: "" is the machine itself.
using HostRoot = std::string;

reeve::v1::CpuFacts read_cpu(const HostRoot& root);                ///< /proc/cpuinfo
std::int64_t read_memory_mib(const HostRoot& root);                ///< /proc/meminfo
std::vector<reeve::v1::NumaNode> read_numa(const HostRoot& root);  ///< /sys/devices/system/node
std::vector<reeve::v1::DiskFacts> read_disks(
    const HostRoot& root);  ///< /sys/block, real devices only
/// /sys/class/net without loopback and what machines' own interfaces are; addresses are this
/// process's view and only filled in for the machine itself.
std::vector<reeve::v1::NicFacts> read_nics(const HostRoot& root);
std::string read_os(const HostRoot& root);       ///< PRETTY_NAME of /etc/os-release
std::string read_kernel(const HostRoot& root);   ///< /proc/sys/kernel/osrelease
std::string read_boot_id(const HostRoot& root);  ///< /proc/sys/kernel/random/boot_id
std::string read_hostname(const HostRoot& root);

/// Busy and total ticks of all processors since boot.
struct CpuTicks {
  std::uint64_t busy = 0;
  std::uint64_t total = 0;
};
CpuTicks read_cpu_ticks(const HostRoot& root);            ///< /proc/stat
std::int64_t read_memory_used_mib(const HostRoot& root);  ///< MemTotal - MemAvailable

/// Small pieces the readers share: a whole file or "", trimmed; names in a folder, sorted.
std::string read_text(const std::string& path);
std::vector<std::string> list_names(const std::string& path);
std::int64_t to_number(std::string_view text);  ///< leading digits; 0 when there are none

}  // namespace reeve::agent
