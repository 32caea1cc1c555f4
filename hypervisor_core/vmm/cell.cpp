#include "hypervisor_core/vmm/cell.h"

#include <filesystem>

#include <unistd.h>

#include "base/text.h"
#include "hypervisor_core/sandbox/user.h"

namespace reeve::core::vmm {

Result<HostNetwork> HostNetwork::open(const v1::MachineConfig& config) {
  HostNetwork network;
  for (const auto& nic : config.nics()) {
    if (nic.tap_name().empty()) continue;
    auto tap = open_network_backend(nic);
    if (!tap.ok()) return std::move(tap).error().during("network card '" + nic.id() + "'");
    network.taps_[nic.id()] = std::move(tap).value();
  }
  return network;
}

OpenNetwork HostNetwork::opener() {
  return [this](const v1::NicConfig& nic) -> Result<std::unique_ptr<NetBackend>> {
    const auto found = taps_.find(nic.id());
    if (found == taps_.end() || !found->second) return open_network_backend(nic);
    return std::move(found->second);
  };
}

Result<std::optional<sandbox::Jail>> enter_cell(const CellOptions& options,
                                                const v1::MachineConfig& config,
                                                const sandbox::JailPlan& plan,
                                                const sandbox::Warden& warden) {
  if (!options.jailed) {
    if (warden.on_start) TRY(warden.on_start(getpid()));
    return std::optional<sandbox::Jail>();
  }
  auto mine = plan;
  mine.user = options.uid != 0 ? options.uid : sandbox::user_of(config.uuid());
  mine.group = options.gid != 0 ? options.gid : mine.user;
  return std::optional<sandbox::Jail>(TRY(sandbox::Jail::begin(mine, warden)));
}

Result<std::string> path_in_cell(const std::string& prefix, const std::string& folder) {
  const auto inner = std::filesystem::path(prefix).lexically_relative(folder);
  if (inner.empty() || inner.native().starts_with(".."))
    return Error{Code::InvalidArgument, "JAIL_VSOCK_PATH",
                 "vsock path '" + prefix + "' is not in '" + folder +
                     "', outside of which the machine can reach nothing"};
  return inner.string();
}

}  // namespace reeve::core::vmm
