// hypervisor_core/vmm/cell.h - the jail of one machine: which user, which folder, which warden.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "hypervisor_core/sandbox/jail.h"
#include "hypervisor_core/vm/peripherals.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core::vmm {

/// How the process is to be jailed, from the command line.
struct CellOptions {
  bool jailed = true;
  std::uint32_t uid = 0, gid = 0;  ///< 0: made from the machine's UUID (sandbox/user.h)
};

/// Tap devices, opened while the process still sees the host's network.
class HostNetwork {
 public:
  /// InvalidArgument and errors of TapBackend::open(), with the card's name.
  static Result<HostNetwork> open(const v1::MachineConfig& config);
  /// For VmOptions: hands each of them out once. The object outlives the machine's making.
  OpenNetwork opener();

 private:
  std::map<std::string, std::unique_ptr<NetBackend>, std::less<>> taps_;
};

/// Jail::begin() for this machine, or nothing when it is to have none. `root` is a folder or empty.
Result<std::optional<sandbox::Jail>> enter_cell(const CellOptions& options,
                                                const v1::MachineConfig& config,
                                                const sandbox::JailPlan& plan,
                                                const sandbox::Warden& warden);

/// Makes `prefix` relative to `folder`, which is the working directory before the jail is closed
/// and "/" afterwards. InvalidArgument/JAIL_VSOCK_PATH when it is not in there.
Result<std::string> path_in_cell(const std::string& prefix, const std::string& folder);

}  // namespace reeve::core::vmm
