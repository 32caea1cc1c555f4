#include "cli/option_names.h"

#include <array>
#include <utility>

namespace reeve::cli {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

/// Anywhere in a text; a longer one comes before what it begins with.
constexpr auto kAnywhere = std::to_array<Pair>({
    {"vm.spec.disks", "--image or --disk"},
    {"vm.spec.nics", "--nic"},
    {"vm.spec.boot.kernel", "--kernel"},
    {"vm.spec.boot.initrd", "--initrd"},
    {"vm.spec.boot.command_line", "--cmdline"},
    {"vm.spec.boot", "--kernel"},
    {"vm.spec.cloud_init.user_data", "--cloud-init"},
    {"vm.spec.cloud_init.meta_data", "--meta-data"},
    {"vm.spec.cloud_init.network_config", "--network-config"},
    {"vm.spec.cpus", "--cpus"},
    {"vm.spec.memory_mib", "--memory"},
    {"vm.spec.limits.cpu_weight", "--cpu-weight"},
    {"vm.spec.limits.cpu_limit_percent", "--cpu-limit"},
    {"vm.spec.limits.memory_limit_mib", "--memory-limit"},
    {"vm.spec.hypervisor", "--hypervisor"},
    {"vm.spec.host", "--host"},
    {"vm.display_name", "the name"},
    {"vm.description", "--description"},
    {"vm.labels", "--label"},
    {"image.display_name", "the name"},
    {"image.description", "--description"},
    {"image.labels", "--label"},
    {"image.kind", "--kind"},
    {"image.format", "--format"},
    {"image.sha256", "--sha256"},
    {"host.display_name", "--name"},
    {"host.labels", "--label"},
    {"host_display_name", "--name"},
    {"token.display_name", "the name"},
    {"token.role", "--role"},
    {"token.expire_time", "--days"},
    {"request_id", "--request-id"},
    {"from_revision", "--from"},
    {"host_path", "--host-path"},
    {"repeat the call with force", "repeat it with --force"},
});

/// Words that are fields only where a text begins with them.
constexpr auto kFirst = std::to_array<Pair>({
    {"grace ", "--grace "},
    {"kinds ", "--kind "},
    {"lifetime ", "--minutes "},
    {"resource ", "--resource "},
});

/// What follows a field: "[0].size_bytes" of a list's entry.
std::size_t end_of_entry(const std::string& text, std::size_t at) {
  if (at >= text.size() || text[at] != '[') return at;
  const auto bracket = text.find(']', at);
  if (bracket == std::string::npos) return at;
  const auto end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_.0123456789", bracket + 1);
  return end == std::string::npos ? text.size() : end;
}

}  // namespace

std::string in_options(std::string text) {
  for (const auto& [field, option] : kAnywhere)
    for (auto at = text.find(field); at != std::string::npos;
         at = text.find(field, at + option.size()))
      text.replace(at, end_of_entry(text, at + field.size()) - at, option);
  for (const auto& [field, option] : kFirst)
    if (text.starts_with(field)) text.replace(0, field.size(), option);
  return text;
}

}  // namespace reeve::cli
