#include <algorithm>

#include "agent/host/fingerprint.h"
#include "base/text.h"

namespace reeve::agent {
namespace {

constexpr std::int64_t kKibPerMib = 1024;

/// Value of "MemTotal:  123 kB", also as "Node 0 MemTotal:  123 kB"; 0 when absent.
std::int64_t kib_of(const std::string& text, std::string_view key) {
  for (const auto line : split(text, '\n')) {
    const auto at = line.find(key);
    if (at != std::string_view::npos) return to_number(line.substr(at + key.size()));
  }
  return 0;
}

}  // namespace

std::int64_t read_memory_mib(const HostRoot& root) {
  return kib_of(read_text(root + "/proc/meminfo"), "MemTotal:") / kKibPerMib;
}

std::int64_t read_memory_used_mib(const HostRoot& root) {
  const std::string text = read_text(root + "/proc/meminfo");
  return std::max<std::int64_t>(0, kib_of(text, "MemTotal:") - kib_of(text, "MemAvailable:")) /
         kKibPerMib;
}

std::vector<reeve::v1::NumaNode> read_numa(const HostRoot& root) {
  std::vector<reeve::v1::NumaNode> nodes;
  const std::string folder = root + "/sys/devices/system/node";
  for (const auto& name : list_names(folder)) {
    constexpr std::string_view kPrefix = "node";
    if (!name.starts_with(kPrefix) || name.size() == kPrefix.size()) continue;
    if (name.find_first_not_of("0123456789", kPrefix.size()) != std::string::npos) continue;
    reeve::v1::NumaNode node;
    node.set_id(
        static_cast<std::int32_t>(to_number(std::string_view(name).substr(kPrefix.size()))));
    node.set_memory_mib(kib_of(read_text(folder + "/" + name + "/meminfo"), "MemTotal:") /
                        kKibPerMib);
    node.set_cpus(read_text(folder + "/" + name + "/cpulist"));
    nodes.push_back(std::move(node));
  }
  std::sort(nodes.begin(), nodes.end(),
            [](const auto& a, const auto& b) { return a.id() < b.id(); });
  if (nodes.empty()) {
    reeve::v1::NumaNode whole;
    whole.set_memory_mib(read_memory_mib(root));
    nodes.push_back(std::move(whole));
  }
  return nodes;
}

}  // namespace reeve::agent
