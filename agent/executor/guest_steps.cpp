#include "agent/executor/guest_steps.h"

#include <algorithm>

#include "agent/executor/saved_steps.h"

namespace reeve::agent {
namespace {

Advance done(Facts facts) {
  return {.done = true, .facts = std::move(facts)};
}
Advance again() {
  return {.done = false, .again = kGuestPoll};
}

bool cannot_be_asked(const Error& error) {
  return error.code() == Code::Unimplemented;
}

/// Reports how much of the grace has passed; true when all of it has.
bool grace_over(Monotonic since, std::int64_t grace_ms, StepContext& context, const char* phase) {
  const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(
                          context.world.clock->monotonic() - since)
                          .count();
  context.progress(phase, std::min<std::int64_t>(passed, grace_ms), grace_ms);
  return passed >= grace_ms;
}

Error stopped_waiting(const char* asked) {
  return {Code::Cancelled, "STEP_CANCELLED", std::string("no longer waiting; ") + asked};
}

std::string within(std::int64_t grace_ms) {
  return " within " + std::to_string(grace_ms / 1000) + " s";
}

}  // namespace

Result<Advance> StopStep::stopped(StepContext& context, const char* how,
                                  const std::string& outcome) {
  auto dropped = context.world.store->remove_saved_state(action_.uid());
  if (!dropped.ok() && dropped.error().code() != Code::NotFound) return std::move(dropped).error();
  return done({{"how", how}, {"outcome", outcome}});
}

Result<Advance> StopStep::cut(Driver& driver, StepContext& context, const char* how,
                              const std::string& outcome) {
  context.progress("cutting power", 0, 0);
  TRY(driver.power_off(action_.uid()));
  return stopped(context, how, outcome);
}

Result<Advance> StopStep::advance(StepContext& context) {
  Driver& driver = *TRY(context.world.driver(action_.hypervisor()));
  auto found = driver.get(action_.uid());
  if (!found.ok() && found.error().reason() == "GUEST_NOT_FOUND") return done({{"how", "absent"}});
  const GuestSeen seen = TRY(std::move(found));
  if (seen.state == GuestState::Stopped)
    return asked_ ? stopped(context, "shutdown", "the guest shut down")
                  : stopped(context, "already-off", "it was off");
  if (action_.grace_ms() == 0) return cut(driver, context, "power-off", "powered off");
  if (seen.state != GuestState::Running)
    return cut(driver, context, "power-off", "powered off: a guest that does not run cannot hear");
  if (!asked_) {
    if (context.cancelled) return stopped_waiting("the guest was not asked");
    auto request = driver.request_shutdown(action_.uid());
    if (!request.ok() && cannot_be_asked(request.error()))
      return cut(driver, context, "power-off",
                 "powered off: the guest cannot be asked: " + request.error().message());
    TRY(std::move(request));
    asked_ = context.world.clock->monotonic();
  }
  if (context.cancelled)
    return stopped_waiting("the guest was asked to shut down and may still do so");
  if (grace_over(*asked_, action_.grace_ms(), context, "waiting for the guest to shut down"))
    return cut(driver, context, "power-off-after-grace",
               "powered off: the guest did not shut down" + within(action_.grace_ms()));
  return again();
}

Result<Advance> RebootStep::advance(StepContext& context) {
  Driver& driver = *TRY(context.world.driver(action_.hypervisor()));
  const GuestSeen seen = TRY(driver.get(action_.uid()));
  if (asked_ && seen.state == GuestState::Stopped) {
    TRY(start_anew(driver, *context.world.store, action_.uid()));
    return done({{"how", "shutdown-and-start"}, {"outcome", "the guest shut down; started again"}});
  }
  if (asked_ && (seen.reboots != before_.reboots || seen.start_time != before_.start_time))
    return done({{"how", "reboot"}, {"outcome", "the guest restarted"}});
  if (seen.state == GuestState::Stopped)
    return Error{Code::FailedPrecondition, "GUEST_STATE", "the guest is off"};
  const auto reset = [&](const char* how, const std::string& outcome) -> Result<Advance> {
    context.progress("resetting", 0, 0);
    TRY(driver.reset(action_.uid()));
    return done({{"how", how}, {"outcome", outcome}});
  };
  if (action_.grace_ms() == 0 || seen.state != GuestState::Running) return reset("reset", "reset");
  if (!asked_) {
    if (context.cancelled) return stopped_waiting("the guest was not asked");
    before_ = seen;
    auto request = driver.request_reboot(action_.uid());
    if (!request.ok() && cannot_be_asked(request.error()))
      return reset("reset", "reset: the guest cannot be asked: " + request.error().message());
    TRY(std::move(request));
    asked_ = context.world.clock->monotonic();
  }
  if (context.cancelled)
    return stopped_waiting("the guest was asked to reboot and may still do so");
  if (grace_over(*asked_, action_.grace_ms(), context, "waiting for the guest to reboot"))
    return reset("reset-after-grace",
                 "reset: the guest did not restart" + within(action_.grace_ms()));
  return again();
}

}  // namespace reeve::agent
