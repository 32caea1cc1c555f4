// hypervisor_core/fuzz/harness.h - a guest made of a fuzzer's bytes, in front of any virtio device.
//
// The input is a program for a hostile driver: it writes memory, descriptors and indices, offers
// good and bad chains, kicks, touches the configuration, and pauses, saves, restores and resets the
// machine meanwhile. Whatever happens the device must not touch memory that is not its own, must
// end each call, and must hold no chain once it is quiesced.
#pragma once

#include <memory>
#include <vector>

#include "hypervisor_core/fuzz/input.h"
#include "hypervisor_core/memory/guest_memory.h"
#include "hypervisor_core/virtio/device.h"

namespace reeve::core::fuzz {

/// RAM of all runs: 512 KiB at 0 and, behind a hole, 64 KiB at 1 MiB. Cleared by each DeviceRun.
GuestMemory& shared_memory();

class DeviceRun final : public virtio::QueueSet, private virtio::Interrupts {
 public:
  /// `memory` is shared_memory(), which the device may know too.
  DeviceRun(virtio::Device& device, GuestMemory& memory);
  ~DeviceRun() override;
  /// Runs the program to its end, at most kMaxSteps steps.
  void play(Input& input);

  virtio::Queue* find(std::uint16_t index) override {
    return index < queues_.size() ? queues_[index].get() : nullptr;
  }

 private:
  static constexpr int kMaxSteps = 200;

  void queue_used(std::uint16_t) override {}
  void config_changed() override {}
  void needs_reset() override {}

  struct Ring {
    Gpa base = 0;
    std::uint16_t size = 0;
    std::uint16_t available = 0;
    std::uint16_t next_descriptor = 0;
  };
  void start(bool keep_positions);
  void stop();
  void step(Input& input);
  void offer_chain(Input& input);
  void write_descriptor(Input& input);
  void change_available(Input& input);
  void touch_config(Input& input);
  void save_and_restore(Input& input);
  Ring& ring(Input& input) { return rings_[input.number<std::uint8_t>() % rings_.size()]; }
  std::uint16_t index_of(const Ring& ring) const {
    return static_cast<std::uint16_t>(&ring - rings_.data());
  }

  virtio::Device& device_;
  GuestMemory& memory_;
  std::uint64_t features_ = 0;
  std::vector<Ring> rings_;
  std::vector<std::unique_ptr<virtio::Queue>> queues_;
};

}  // namespace reeve::core::fuzz
