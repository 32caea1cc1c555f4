// hypervisor_core/virtio/transport_pci.h - a virtio device as a PCI function: virtio 1.2 modern,
// MSI-X only. Source: OASIS virtio 1.2, section 4.1.
//
// BAR 0 holds the registers (common 0x0000, ISR 0x1000, device 0x2000, notify 0x3000), BAR 1 the
// MSI-X table. Registers belong to the driver until DRIVER_OK and are frozen then: the queues are
// made from one snapshot, later writes change nothing until the driver resets the device.
// Notifications are doorbells: they reach the worker without an exit where the accelerator can do
// that.
//
//   thread      what it does here
//   any vCPU    register accesses; status changes are handed to the control loop
//   control     activation, reset, stop_workers(), start_workers(), save(), load()
//   workers     interrupts
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/loop.h"
#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/pci/device.h"
#include "hypervisor_core/pci/msix.h"
#include "hypervisor_core/virtio/device.h"
#include "hypervisor_core/virtio/worker.h"

namespace reeve::core::v1 {
class VirtioPciState;
}

namespace reeve::core::virtio {

/// What a transport is connected to; all outlive it.
struct TransportWorld {
  GuestMemory& memory;
  accel::Partition& partition;
  Loop& control;
};

class TransportPci final : public pci::Device, private Interrupts {
 public:
  static constexpr std::uint32_t kRegisterBar = 0x4000;

  /// `device` outlives the transport. Errors of eventfd.
  static Result<std::unique_ptr<TransportPci>> create(virtio::Device& device,
                                                      const TransportWorld& world,
                                                      WorkerOptions workers = {});
  ~TransportPci() override;  ///< stop_workers()
  TransportPci(const TransportPci&) = delete;
  TransportPci& operator=(const TransportPci&) = delete;

  std::string_view name() const override { return device_.name(); }
  pci::ConfigSpace& config() override { return config_; }
  std::vector<pci::Bar> bars() override;
  void config_read(std::uint64_t offset, std::span<std::byte> out) override;
  void config_written(std::uint64_t offset, std::span<const std::byte> value) override;
  void bar_moved(std::uint8_t index, std::optional<Gpa> base) override;

  /// Control loop: halts the device; what it has in flight is finished first. A no-op when halted.
  void stop_workers();
  /// Control loop: goes on, if the driver had activated the device.
  Status start_workers();
  /// Control loop: as after power-on, whatever the driver did.
  void reset_function();
  /// Control loop, halted. The PCI configuration space is the root's to save.
  void save(v1::VirtioPciState& state) const;
  /// Control loop, halted, fresh transport. InvalidArgument/DEVICE_STATE.
  Status load(const v1::VirtioPciState& state);

  virtio::Device& device() { return device_; }
  pci::Msix& msix() { return msix_; }

 private:
  class Registers;
  struct QueueRegisters {
    std::uint16_t size = 0;
    bool enabled = false;
    std::uint64_t descriptors = 0, available = 0, used = 0;
  };
  struct CommonRegisters {
    std::uint32_t device_feature_select = 0, driver_feature_select = 0;
    std::uint64_t driver_features = 0;
    std::uint16_t queue_select = 0;
    std::uint8_t status = 0, generation = 0;
  };

  TransportPci(virtio::Device& device, const TransportWorld& world, WorkerOptions workers);
  void add_capabilities();
  void add_virtio_capability(std::uint8_t type, std::uint32_t offset, std::uint32_t length,
                             std::span<const std::uint8_t> tail = {});

  void read_registers(std::uint64_t offset, std::span<std::byte> out);
  void write_registers(std::uint64_t offset, std::span<const std::byte> value);
  void read_common(std::uint64_t offset, std::span<std::byte> out);
  void write_common(std::uint64_t offset, std::span<const std::byte> value);
  void write_word(std::uint64_t offset, std::uint32_t value) REEVE_REQUIRES(mutex_);
  void write_half(std::uint64_t offset, std::uint16_t value) REEVE_REQUIRES(mutex_);
  void write_address(std::uint64_t& target, bool high, std::uint32_t value) REEVE_REQUIRES(mutex_);
  void write_status(std::uint8_t value) REEVE_REQUIRES(mutex_);
  void notify(std::uint64_t offset);

  bool frozen() const REEVE_REQUIRES(mutex_);
  QueueRegisters* selected() REEVE_REQUIRES(mutex_);
  void clear_registers() REEVE_REQUIRES(mutex_);

  void activate();
  Status make_queues(std::span<const QueuePosition> positions);
  void reset_by_driver();
  void attach_doorbells(Gpa base);
  void detach_doorbells();

  // Interrupts, called by workers and devices.
  void queue_used(std::uint16_t queue) override;
  void config_changed() override;
  void needs_reset() override;

  virtio::Device& device_;
  const TransportWorld world_;
  const WorkerOptions worker_options_;
  const Traits traits_;
  const std::uint64_t offered_;
  const std::size_t queue_count_;
  pci::ConfigSpace config_;
  pci::Msix msix_;
  std::unique_ptr<Registers> registers_;
  std::vector<Fd> kicks_;
  std::uint8_t window_capability_ = 0;
  std::optional<Gpa> doorbell_base_{};

  Mutex config_mutex_;  ///< one device configuration access at a time
  mutable Mutex mutex_;
  CommonRegisters common_ REEVE_GUARDED_BY(mutex_);
  std::vector<QueueRegisters> queues_ REEVE_GUARDED_BY(mutex_);
  bool resetting_ REEVE_GUARDED_BY(mutex_) = false;  ///< the control loop has yet to finish a reset
  std::vector<std::atomic<std::uint16_t>> vectors_;  ///< of the queues, then of the configuration
  std::atomic<std::uint8_t> interrupt_status_{0};

  // The control loop's.
  bool active_ = false;
  std::vector<QueueSlot> slots_;  ///< while no worker has them
  std::unique_ptr<Workers> workers_;
};

}  // namespace reeve::core::virtio
