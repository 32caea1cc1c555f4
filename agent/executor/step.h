// agent/executor/step.h - a step as something that is advanced on a worker until it is done.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "agent/driver/driver.h"
#include "agent/executor/policy.h"
#include "agent/storage/store.h"
#include "base/clock.h"
#include "base/status.h"
#include "reeve/agent/v1/step.pb.h"

namespace reeve::agent {

/// Hypervisors of this host by id. The drivers outlive everything that holds this.
using Drivers = std::map<std::string, Driver*, std::less<>>;

/// What steps work on. Everything outlives the executor.
struct StepWorld {
  Drivers drivers{};
  Store* store = nullptr;
  Uploads* uploads = nullptr;
  const Clock* clock = nullptr;
  Policy policy{};

  /// NotFound/HYPERVISOR_NOT_FOUND.
  Result<Driver*> driver(std::string_view id) const;
};

using Facts = std::map<std::string, std::string>;

/// What a step sees of its surroundings while it advances. Worker thread.
struct StepContext {
  const StepWorld& world;
  const std::atomic<bool>& cancelled;
  std::function<void(std::string phase, std::int64_t done, std::int64_t total)> progress{};
};

/// Done, or to be advanced again later. Waiting is never done by sleeping in a worker.
struct Advance {
  bool done = true;
  std::chrono::microseconds again{0};
  Facts facts{};
};

/// One step in execution: advanced from one worker at a time, first to last.
class Step {
 public:
  virtual ~Step() = default;
  virtual Result<Advance> advance(StepContext& context) = 0;
};

/// `action` has passed validate_action().
std::unique_ptr<Step> make_step(const v1::Action& action);

/// Says what became of an action by looking at the world, whatever the agent remembers. Blocks:
/// workers only. `seen.key` stays empty.
v1::StepSeen look(const v1::Action& action, const StepWorld& world);

/// Adds what the store knows: a guest that is off may be saved. A used state's space is given back
/// once the guest runs. Blocks on the disk.
void note_saved_state(GuestSeen& seen, Store& store);

/// uid and hypervisor of the guest an action is about; empty for images.
struct GuestRef {
  std::string uid{};
  std::string hypervisor{};
};
GuestRef guest_of(const v1::Action& action);

/// Facts of a result about an image: "sha256", "size_bytes", "virtual_size_bytes".
Facts facts_of(const v1::StoredImage& image);

}  // namespace reeve::agent
