// tests/sim/scenario.h - the jobs that the simulation interrupts, and what interrupts them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"

namespace reeve::test {

enum class Fault {
  KillServer,
  PowerCutServer,
  KillAgent,
  KillBoth,
  CutLink,
  CutLinkLong,
  FreezeLink,
  DatabaseFull,
  OutboxFull,
  HypervisorFails,
  HypervisorHangs,
  StoreFails,
  ClockForward,
  ClockBack,
  GuestEndsAlone,  ///< the agent dies in the middle of what it does; guests run, and power off
};
inline constexpr std::array kFaults{
    Fault::KillServer,   Fault::PowerCutServer,  Fault::KillAgent,       Fault::KillBoth,
    Fault::CutLink,      Fault::CutLinkLong,     Fault::FreezeLink,      Fault::DatabaseFull,
    Fault::OutboxFull,   Fault::HypervisorFails, Fault::HypervisorHangs, Fault::StoreFails,
    Fault::ClockForward, Fault::ClockBack,       Fault::GuestEndsAlone};
const char* name_of(Fault fault);

/// Makes it happen on `host` (and the server) now, and posts its end.
void strike(Cluster& cluster, SimHost& host, Fault fault);

using Go = std::function<void(server::Reply<v1::Job>)>;

/// What exists before the job: an image, and a machine in some state.
struct Stage {
  std::string image{};  ///< names; empty when there is none
  std::string vm{};
  std::string host{};
};

struct Scenario {
  const char* kind;
  /// Brings the stage about, undisturbed.
  std::function<Stage(Cluster&)> prepare;
  /// The call; `request_id` makes its repetition safe.
  std::function<Go(Cluster&, const Stage&, const std::string& request_id)> call;
};
const std::vector<Scenario>& scenarios();

// Calls that tests make again and again.
Go import_image(Cluster& cluster, const std::string& name, const std::string& request_id,
                const std::string& host = "");
Go create_vm(Cluster& cluster, const std::string& name, const std::string& image, bool start,
             const std::string& request_id, const std::map<std::string, std::string>& labels = {});
/// Makes the call, waits for the end, fails the test unless it succeeded. The target's name.
std::string succeed(Cluster& cluster, const Go& go);

}  // namespace reeve::test
