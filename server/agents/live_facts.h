// server/agents/live_facts.h - samples and signs of life: what changes too often for the database.
// In memory only, readable from any thread.
#pragma once

#include <map>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "reeve/agent/v1/observation.pb.h"
#include "reeve/v1/host.pb.h"
#include "reeve/v1/vm.pb.h"

namespace reeve::server {

class LiveFacts {
 public:
  void heard(const std::string& host_uid, WallTime now);
  void sampled(const std::string& host_uid, const agent::v1::Metrics& metrics, WallTime now);
  /// Samples of a host that is not connected are not shown; when it was last heard of is.
  void lost(const std::string& host_uid);

  /// Adds what is known to a resource.
  void fill(v1::Host& host) const;
  void fill(v1::VirtualMachine& vm) const;

 private:
  struct OfHost {
    WallTime heard{};
    WallTime sampled{};
    v1::ResourceUse use{};
    std::int64_t store_free_bytes = 0;
    bool has_sample = false;
    std::map<std::string, agent::v1::GuestUse> vms{};
  };
  mutable Mutex mutex_;
  std::map<std::string, OfHost> hosts_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
