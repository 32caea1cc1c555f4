// agent/driver/sim/faults.h - what can go wrong in a simulated hypervisor, as data.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/status.h"

namespace reeve::agent {

enum class SimVerb : std::uint8_t {
  Any,
  List,
  Get,
  Use,
  Define,
  Undefine,
  Start,
  RequestShutdown,
  RequestReboot,
  PowerOff,
  Reset,
  Pause,
  Resume,
  Save,
  Restore,
};

/// The answer of one coming call, and whether the call did its work all the same.
struct SimFault {
  enum class Effect : std::uint8_t {
    None,   ///< the verb did nothing
    Now,    ///< the verb did its work; only the answer was lost
    Later,  ///< the verb does its work after `delay`, when the caller has long given up
  };

  SimVerb verb = SimVerb::Any;
  Effect effect = Effect::None;
  std::chrono::microseconds delay{0};
  Error error{Code::Internal, "HYPERVISOR_ERROR", "injected failure"};

  /// The verb fails and does nothing.
  static SimFault fail(SimVerb verb) { return {.verb = verb}; }
  /// What a hung call looks like from outside: the watchdog's answer, the effect unknown.
  static SimFault hang(SimVerb verb, Effect effect = Effect::None,
                       std::chrono::microseconds delay = std::chrono::seconds(30)) {
    return {.verb = verb,
            .effect = effect,
            .delay = delay,
            .error = Error(Code::DeadlineExceeded, "HYPERVISOR_BUSY", "injected hang")};
  }
};

/// Faults by chance, each in parts per thousand.
struct SimChances {
  std::uint32_t fail = 0;        ///< a changing verb fails without effect
  std::uint32_t busy_none = 0;   ///< HYPERVISOR_BUSY, no effect
  std::uint32_t busy_now = 0;    ///< HYPERVISOR_BUSY, effect took place
  std::uint32_t busy_later = 0;  ///< HYPERVISOR_BUSY, effect within 30 s
  std::uint32_t lose_event = 0;
};

}  // namespace reeve::agent
