#include <set>
#include <utility>

#include "agent/host/fingerprint.h"
#include "base/text.h"

namespace reeve::agent {
namespace {

#if defined(__aarch64__)
constexpr std::string_view kArchitecture = "aarch64";
#else
constexpr std::string_view kArchitecture = "x86_64";
#endif

}  // namespace

reeve::v1::CpuFacts read_cpu(const HostRoot& root) {
  reeve::v1::CpuFacts cpu;
  cpu.set_architecture(std::string(kArchitecture));
  std::set<std::string> sockets;
  std::set<std::pair<std::string, std::string>> cores;
  std::set<std::string> features;
  std::string socket = "0";
  int threads = 0;
  const std::string text = read_text(root + "/proc/cpuinfo");
  for (const auto line : split(text, '\n')) {
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const auto key = trim(line.substr(0, colon));
    const auto value = std::string(trim(line.substr(colon + 1)));
    if (key == "processor") ++threads;
    if (key == "vendor_id") cpu.set_vendor(value);
    if (key == "model name") cpu.set_model(value);
    if (key == "physical id") sockets.insert(socket = value);
    if (key == "core id") cores.insert({socket, value});
    if (key == "flags" && features.empty())
      for (const auto flag : split(value, ' '))
        if (!flag.empty()) features.emplace(flag);
  }
  cpu.set_threads(threads);
  // Some virtual machines show no topology: then each thread counts as a core of one socket.
  cpu.set_sockets(static_cast<std::int32_t>(sockets.empty() ? 1 : sockets.size()));
  cpu.set_cores(cores.empty() ? threads : static_cast<std::int32_t>(cores.size()));
  for (const auto& feature : features) cpu.add_features(feature);
  return cpu;
}

CpuTicks read_cpu_ticks(const HostRoot& root) {
  const std::string text = read_text(root + "/proc/stat");
  const auto line = std::string_view(text).substr(0, text.find('\n'));
  CpuTicks ticks;
  std::size_t field = 0;
  constexpr std::size_t kIdle = 3;
  constexpr std::size_t kIoWait = 4;
  constexpr std::size_t kSteal = 7;  // guest times after it are counted in user already
  for (const auto part : split(line, ' ')) {
    if (part.empty() || part == "cpu") continue;
    const auto value = static_cast<std::uint64_t>(to_number(part));
    if (field <= kSteal) ticks.total += value;
    if (field <= kSteal && field != kIdle && field != kIoWait) ticks.busy += value;
    ++field;
  }
  return ticks;
}

}  // namespace reeve::agent
