// hypervisor_core/vm/config.h - what makes a machine configuration acceptable.
#pragma once

#include "base/status.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core {

inline constexpr std::uint32_t kMaxVcpus = 254;
inline constexpr int kMaxDisks = 16;
inline constexpr int kMaxNics = 8;

/// InvalidArgument/MACHINE_CONFIG names the field.
Status check_config(const v1::MachineConfig& config);

}  // namespace reeve::core
