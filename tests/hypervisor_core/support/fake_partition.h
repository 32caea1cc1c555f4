// tests/hypervisor_core/support/fake_partition.h - an accelerator's partition without guest code:
// records interrupts, messages and doorbells.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "hypervisor_core/accel/accelerator.h"

namespace reeve::core::test {

class FakePartition : public accel::Partition, public accel::Doorbells {
 public:
  Status set_memory(const accel::MemorySlot&) override { return {}; }
  Status take_dirty(std::uint32_t, std::span<std::uint64_t>) override { return {}; }
  Result<std::unique_ptr<accel::Vcpu>> create_vcpu(std::uint32_t) override {
    return Error{Code::Unimplemented, "FAKE", "no vCPU in a fake partition"};
  }
  void set_irq(std::uint32_t, bool) override {}
  Result<std::unique_ptr<accel::MsiLine>> create_msi_line() override {
    return std::unique_ptr<accel::MsiLine>(std::make_unique<Line>(*this));
  }
  Result<accel::InterruptControllerState> interrupt_state() const override {
    return accel::InterruptControllerState{};
  }
  Status set_interrupt_state(const accel::InterruptControllerState&) override { return {}; }
  Result<std::uint64_t> clock() const override { return std::uint64_t{0}; }
  Status set_clock(std::uint64_t) override { return {}; }
  accel::Doorbells* doorbells() override { return has_doorbells ? this : nullptr; }

  Status attach(Gpa address, int event_fd) override {
    bells.emplace(address, event_fd);
    return {};
  }
  Status detach(Gpa address, int) override {
    bells.erase(address);
    return {};
  }

  /// Messages delivered so far, by data.
  std::size_t messages(std::uint32_t data) const {
    std::scoped_lock lock(mutex_);
    const auto found = delivered_.find(data);
    return found == delivered_.end() ? 0 : found->second;
  }
  /// All of them.
  std::size_t sent() const {
    std::scoped_lock lock(mutex_);
    std::size_t sum = 0;
    for (const auto& [data, times] : delivered_) sum += times;
    return sum;
  }
  bool has_doorbells = false;
  std::map<Gpa, int> bells;

 private:
  class Line final : public accel::MsiLine {
   public:
    explicit Line(FakePartition& owner) : owner_(owner) {}
    Status route(const accel::MsiMessage& message) override {
      message_ = message;
      return {};
    }
    void raise() override {
      std::scoped_lock lock(owner_.mutex_);
      ++owner_.delivered_[message_.data];
    }

   private:
    FakePartition& owner_;
    accel::MsiMessage message_;
  };

  mutable std::mutex mutex_;
  std::map<std::uint32_t, std::size_t> delivered_;
};

}  // namespace reeve::core::test
