// agent/executor/guest_steps.h - the steps that wait for a guest: stop and reboot.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "agent/executor/step.h"

namespace reeve::agent {

inline constexpr std::chrono::milliseconds kGuestPoll{250};

/// Asks the guest to shut down, looks until it is off, and cuts its power when the grace is over.
/// Where it cannot be asked the power is cut at once. A guest that is not there is off. A paused
/// guest cannot hear: its power is cut at once too. A saved state is dropped.
class StopStep final : public Step {
 public:
  explicit StopStep(v1::StopGuest action) : action_(std::move(action)) {}
  Result<Advance> advance(StepContext& context) override;

 private:
  Result<Advance> stopped(StepContext& context, const char* how, const std::string& outcome);
  Result<Advance> cut(Driver& driver, StepContext& context, const char* how,
                      const std::string& outcome);

  v1::StopGuest action_;
  std::optional<Monotonic> asked_{};
};

/// Asks the guest to restart and looks until it has: the driver saw it restart, or it went off and
/// is started again. Reset when the grace is over, or when it cannot be asked.
class RebootStep final : public Step {
 public:
  explicit RebootStep(v1::RebootGuest action) : action_(std::move(action)) {}
  Result<Advance> advance(StepContext& context) override;

 private:
  v1::RebootGuest action_;
  std::optional<Monotonic> asked_{};
  GuestSeen before_{};  ///< when it was asked
};

}  // namespace reeve::agent
