#include "agent/driver/core/cgroups.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "agent/driver/driver.h"
#include "base/file.h"
#include "base/text.h"

namespace reeve::agent::core_driver {
namespace {

constexpr const char* kOurs = "/reeve";
constexpr std::uint64_t kPeriodUs = 100'000;
constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kBesideMiB = kLeastBesideMib;

/// Control files are written in place, in one call.
Status set(const std::string& file, const std::string& value) {
  const Fd fd = TRY(open_file(file, O_WRONLY | O_TRUNC));
  auto written = write_all(fd.get(), as_bytes(value));
  if (!written.ok()) return std::move(written).error().during("setting " + file + " to " + value);
  return {};
}

std::string quota_us(const Limits& limits) {
  return std::to_string(limits.cpu_limit_percent * kPeriodUs / 100);
}

Status limit_v2(const std::string& group, const Limits& limits) {
  TRY(set(group + "/cpu.weight", std::to_string(limits.cpu_weight)));
  TRY(set(group + "/cpu.max", (limits.cpu_limit_percent == 0 ? "max" : quota_us(limits)) + " " +
                                  std::to_string(kPeriodUs)));
  return set(group + "/memory.max",
             limits.memory_bytes == 0 ? "max" : std::to_string(limits.memory_bytes));
}

Status limit_v1(const std::string& cpu, const std::string& memory, const Limits& limits) {
  constexpr std::uint64_t kSharesOf100 = 1024;
  TRY(set(cpu + "/cpu.shares",
          std::to_string(std::max<std::uint64_t>(2, limits.cpu_weight * kSharesOf100 / 100))));
  TRY(set(cpu + "/cpu.cfs_period_us", std::to_string(kPeriodUs)));
  TRY(set(cpu + "/cpu.cfs_quota_us", limits.cpu_limit_percent == 0 ? "-1" : quota_us(limits)));
  return set(memory + "/memory.limit_in_bytes",
             limits.memory_bytes == 0 ? "-1" : std::to_string(limits.memory_bytes));
}

bool has_word(const std::string& text, std::string_view word) {
  const auto words = split(trim(text), ' ');
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

Limits limits_of(std::uint32_t vcpus, std::uint64_t memory_mib) {
  constexpr std::uint32_t kMostWeight = 10'000;
  constexpr std::uint64_t kPageTablesShare = 64;  // more than 8 bytes per 4 KiB, twice
  return {.cpu_weight = std::min(kMostWeight, 100 * vcpus),
          .cpu_limit_percent = 100 * (vcpus + 1),
          .memory_bytes = (memory_mib + memory_mib / kPageTablesShare + kBesideMiB) * kMiB};
}

Limits limits_of(const core::v1::GuestRecord& record) {
  const auto& running = record.has_running() ? record.running() : record.machine();
  Limits limits = limits_of(running.vcpus(), running.memory_mib());
  if (record.cpu_weight() != 0) limits.cpu_weight = record.cpu_weight();
  if (record.cpu_limit_percent() != 0) limits.cpu_limit_percent = record.cpu_limit_percent();
  if (record.memory_limit_mib() != 0)
    limits.memory_bytes =
        std::max(record.memory_limit_mib(), running.memory_mib() + kBesideMiB) * kMiB;
  return limits;
}

Cgroups Cgroups::find(std::string root) {
  namespace fs = std::filesystem;
  const auto controllers = read_file(root + "/cgroup.controllers");
  if (controllers.ok() && has_word(controllers.value(), "cpu") &&
      has_word(controllers.value(), "memory"))
    return {std::move(root), Layout::V2};
  const bool v1 =
      fs::exists(root + "/cpu/cpu.shares") && fs::exists(root + "/memory/memory.limit_in_bytes");
  return {std::move(root), v1 ? Layout::V1 : Layout::None};
}

std::vector<std::string> Cgroups::folders_of(const std::string& uid) const {
  switch (layout_) {
    case Layout::V2: return {root_ + kOurs + "/" + uid};
    case Layout::V1:
      return {root_ + "/cpu" + kOurs + "/" + uid, root_ + "/memory" + kOurs + "/" + uid};
    case Layout::None: break;
  }
  return {};
}

Result<std::vector<std::string>> Cgroups::make(const std::string& uid, const Limits& limits) const {
  const auto folders = folders_of(uid);
  if (layout_ == Layout::V2) {
    TRY(make_dirs(root_ + kOurs, 0755));
    TRY(set(root_ + "/cgroup.subtree_control", "+cpu +memory"));
    TRY(set(root_ + kOurs + "/cgroup.subtree_control", "+cpu +memory"));
  }
  for (const auto& folder : folders) TRY(make_dirs(folder, 0755));
  if (layout_ == Layout::V2) TRY(limit_v2(folders[0], limits));
  if (layout_ == Layout::V1) TRY(limit_v1(folders[0], folders[1], limits));
  return folders;
}

Status Cgroups::join(const std::vector<std::string>& folders, int pid) {
  for (const auto& folder : folders) TRY(set(folder + "/cgroup.procs", std::to_string(pid)));
  return {};
}

void Cgroups::remove(const std::string& uid) const {
  // The last of its processes, the warden, may still be on its way out.
  constexpr int kTries = 200;
  for (const auto& folder : folders_of(uid))
    for (int i = 0; i < kTries && ::rmdir(folder.c_str()) != 0 && errno == EBUSY; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace reeve::agent::core_driver
