// hypervisor_core/vm/board.h - the machine's parts, put together; knows nothing of running or
// stopping.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/boot/loader.h"
#include "hypervisor_core/bus/bus.h"
#include "hypervisor_core/chipset/acpi_hardware.h"
#include "hypervisor_core/chipset/cmos_rtc.h"
#include "hypervisor_core/chipset/exit_ports.h"
#include "hypervisor_core/chipset/i8042.h"
#include "hypervisor_core/chipset/serial_16550.h"
#include "hypervisor_core/memory/guest_memory.h"
#include "hypervisor_core/pci/root.h"
#include "hypervisor_core/vm/peripherals.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core {

/// What CPUID says to each vCPU, in order.
using Cpuid = std::vector<std::vector<accel::CpuidLeaf>>;

/// What the board is connected to; all outlive it.
struct BoardWorld {
  accel::Accelerator& accelerator;
  MachineEvents& events;
  ByteSink& console;
  const Clock& clock;
  PrepareThread prepare_thread{};  ///< see VmOptions
  OpenNetwork open_network{};      ///< see VmOptions
};

class Board final : public accel::ExitHandler {
 public:
  /// Memory, interrupt controllers, devices and buses. `config` has passed check_config().
  /// `promised` is what the guest was shown elsewhere, or empty: then CPUID shows what there is
  /// here. FailedPrecondition/CPU_FEATURE (cpu/cpuid_match.h).
  static Result<std::unique_ptr<Board>> create(const v1::MachineConfig& config,
                                               const BoardWorld& world, Cpuid promised = {});
  ~Board() override;
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  /// vCPU `id` with its CPUID and firmware state, not started. Call once for each.
  Result<std::unique_ptr<accel::Vcpu>> make_vcpu(std::uint32_t id);
  /// Writes tables and the kernel into memory. Only while no vCPU runs.
  Result<boot::Entry> load_kernel();
  /// Devices and memory as after power-on. Only while no vCPU runs.
  Status reset();

  /// Tells the guest that it may be a copy: new generation id, and the ACPI event for it. While
  /// halted.
  Status renew_generation_id();

  /// Types at the console; returns how many bytes were taken.
  std::size_t type(std::span<const std::byte> input);

  const Cpuid& cpuid() const { return cpuid_; }
  GuestMemory& memory() { return *memory_; }
  accel::Partition& partition() { return *partition_; }
  Serial16550& serial() { return *serial_; }
  AcpiHardware& acpi() { return *acpi_; }
  CmosRtc& rtc() { return *rtc_; }
  I8042& keyboard() { return *keyboard_; }
  pci::Root& pci() { return pci_; }
  Peripherals& peripherals() { return *peripherals_; }

  void port_read(std::uint16_t port, std::span<std::byte> out) override { ports_.read(port, out); }
  void port_write(std::uint16_t port, std::span<const std::byte> value) override {
    ports_.write(port, value);
  }
  void mmio_read(Gpa address, std::span<std::byte> out) override { mmio_.read(address, out); }
  void mmio_write(Gpa address, std::span<const std::byte> value) override {
    mmio_.write(address, value);
  }

 private:
  class Line;
  Board(const v1::MachineConfig& config, const BoardWorld& world);
  Status make_memory();
  Status make_chipset();
  Status open_images();
  Status choose_cpuid(Cpuid promised);

  const v1::MachineConfig& config_;  // owned by the Vm
  const BoardWorld world_;
  Cpuid cpuid_;
  std::unique_ptr<boot::ByteSource> kernel_, initrd_;

  // In the order of construction: what is below may use what is above.
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<accel::Partition> partition_;
  Bus ports_, mmio_;
  std::unique_ptr<Line> serial_line_, acpi_line_, rtc_line_;
  std::unique_ptr<Serial16550> serial_;
  std::unique_ptr<CmosRtc> rtc_;
  std::unique_ptr<I8042> keyboard_;
  std::unique_ptr<AcpiHardware> acpi_;
  ResetControl reset_control_;
  Pvpanic pvpanic_;
  DebugExit debug_exit_;
  pci::Root pci_;
  std::unique_ptr<Peripherals> peripherals_;
  std::array<std::byte, 16> generation_id_{};
};

}  // namespace reeve::core
