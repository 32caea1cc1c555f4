// agent/link/outbox.h - what the agent must not forget: results the server has not journalled, and
// the highest epoch it has accepted.
//
// Calls block until the change is on the disk: workers only, from one or more threads.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/status.h"
#include "reeve/agent/v1/step.pb.h"

namespace reeve::agent {

class Outbox {
 public:
  virtual ~Outbox() = default;
  /// All that is kept, oldest first, with its number. What cannot be read is set aside and logged.
  virtual Result<std::vector<std::pair<std::uint64_t, v1::StepResult>>> load() = 0;
  /// Keeps a result; returns its number, which rises.
  virtual Result<std::uint64_t> put(const v1::StepResult& result) = 0;
  /// Forgets one; fine when absent.
  virtual Status remove(std::uint64_t number) = 0;

  virtual Result<std::uint64_t> epoch() = 0;  ///< 0 before the first
  virtual Status set_epoch(std::uint64_t epoch) = 0;
};

/// In memory, for simulations. The disk outlives the agent that crashes; the simulator owns it.
class SimOutbox final : public Outbox {
 public:
  struct Disk {
    std::map<std::uint64_t, v1::StepResult> results{};
    std::uint64_t next = 1;
    std::uint64_t epoch = 0;
    bool full = false;  ///< writes fail with ResourceExhausted/DISK_FULL
  };
  explicit SimOutbox(Disk& disk) : disk_(disk) {}

  Result<std::vector<std::pair<std::uint64_t, v1::StepResult>>> load() override {
    return std::vector<std::pair<std::uint64_t, v1::StepResult>>(disk_.results.begin(),
                                                                 disk_.results.end());
  }
  Result<std::uint64_t> put(const v1::StepResult& result) override {
    if (disk_.full) return disk_full();
    disk_.results.emplace(disk_.next, result);
    return disk_.next++;
  }
  Status remove(std::uint64_t number) override {
    disk_.results.erase(number);
    return {};
  }
  Result<std::uint64_t> epoch() override { return disk_.epoch; }
  Status set_epoch(std::uint64_t epoch) override {
    if (disk_.full) return disk_full();
    disk_.epoch = epoch;
    return {};
  }

 private:
  static Error disk_full() {
    return Error{Code::ResourceExhausted, "DISK_FULL", "the simulated disk is full"};
  }
  Disk& disk_;  // outlives the outbox
};

}  // namespace reeve::agent
