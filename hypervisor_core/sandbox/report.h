// hypervisor_core/sandbox/report.h - what a jail is made of, and what this host refused.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace reeve::core::sandbox {

struct Measure {
  std::string_view name{};  ///< e.g. "network namespace"
  bool in_force = false;
  std::string why_not{};  ///< for a person; empty when in force
};

class Report {
 public:
  void add(std::string_view name, const Status& outcome) {
    measures_.push_back({.name = name,
                         .in_force = outcome.ok(),
                         .why_not = outcome.ok() ? "" : outcome.error().message()});
  }
  bool holds(std::string_view name) const {
    for (const auto& measure : measures_)
      if (measure.name == name) return measure.in_force;
    return false;
  }
  const std::vector<Measure>& measures() const { return measures_; }
  /// One line: what is in force, then what is not and why.
  std::string text() const;

 private:
  std::vector<Measure> measures_;
};

inline constexpr std::string_view kOwnUser = "own user", kNoCapabilities = "no capabilities",
                                  kUserNamespace = "user namespace",
                                  kMountNamespace = "mount namespace",
                                  kIpcNamespace = "ipc namespace", kHostName = "uts namespace",
                                  kNetworkNamespace = "network namespace",
                                  kPidNamespace = "pid namespace", kOwnRoot = "own root folder",
                                  kLimits = "resource limits", kLandlock = "landlock",
                                  kFilter = "system call filters";

}  // namespace reeve::core::sandbox
