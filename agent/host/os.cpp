#include <unistd.h>

#include "agent/host/fingerprint.h"
#include "base/text.h"

namespace reeve::agent {

std::string read_os(const HostRoot& root) {
  const std::string text = read_text(root + "/etc/os-release");
  for (const auto line : split(text, '\n')) {
    constexpr std::string_view kKey = "PRETTY_NAME=";
    if (!line.starts_with(kKey)) continue;
    auto value = trim(line.substr(kKey.size()));
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
        value.back() == value.front())
      value = value.substr(1, value.size() - 2);
    constexpr std::size_t kMost = 200;
    return std::string(value.substr(0, kMost));
  }
  return {};
}

std::string read_kernel(const HostRoot& root) {
  return read_text(root + "/proc/sys/kernel/osrelease");
}

std::string read_boot_id(const HostRoot& root) {
  return read_text(root + "/proc/sys/kernel/random/boot_id");
}

std::string read_hostname(const HostRoot& root) {
  return read_text(root + "/proc/sys/kernel/hostname");
}

}  // namespace reeve::agent
