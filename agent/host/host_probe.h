// agent/host/host_probe.h - looks at this host: facts for placement and people, samples for graphs.
//
// Calls block (files, small programs): workers only.
#pragma once

#include <functional>
#include <utility>

#include "base/status.h"
#include "reeve/v1/host.pb.h"

namespace reeve::agent {

class HostProbe {
 public:
  virtual ~HostProbe() = default;
  /// Facts; parts that cannot be found stay unset. Without `observe_time`, store and `use`.
  virtual reeve::v1::HostStatus facts() = 0;
  /// Use since the last call.
  virtual reeve::v1::ResourceUse use() = 0;
};

/// The same answers always: for simulations and tests.
class FixedHostProbe final : public HostProbe {
 public:
  explicit FixedHostProbe(reeve::v1::HostStatus facts, reeve::v1::ResourceUse use = {})
      : facts_(std::move(facts)), use_(std::move(use)) {}
  reeve::v1::HostStatus facts() override { return facts_; }
  reeve::v1::ResourceUse use() override { return use_; }

 private:
  reeve::v1::HostStatus facts_;
  reeve::v1::ResourceUse use_;
};

}  // namespace reeve::agent
