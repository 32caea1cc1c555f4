// hypervisor_core/accel/accelerator.h - what the machine needs from whatever executes guest code.
//
//   Accelerator --create_partition()--> Partition --create_vcpu()--> Vcpu
//
// KVM is one implementation (accel/kvm); an instruction interpreter or translator can be another:
// it would call the ExitHandler from its memory path, and return null for the optional abilities.
//
// Order: create the partition with its memory, create the vCPUs, give them CPUID and registers, run
// each on its own thread. The GuestMemory and every ExitHandler outlive the partition.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/accel/cpu_state.h"
#include "hypervisor_core/memory/guest_memory.h"

namespace reeve::core::accel {

/// Receives the accesses that are not RAM, on the vCPU's thread, one at a time per vCPU but from
/// several vCPUs at once. Sizes are 1, 2, 4 or 8 bytes; values are little-endian. Reads fill all of
/// `out`.
class ExitHandler {
 public:
  virtual ~ExitHandler() = default;
  virtual void port_read(std::uint16_t port, std::span<std::byte> out) = 0;
  virtual void port_write(std::uint16_t port, std::span<const std::byte> value) = 0;
  virtual void mmio_read(Gpa address, std::span<std::byte> out) = 0;
  virtual void mmio_write(Gpa address, std::span<const std::byte> value) = 0;
};

/// Why run() came back.
enum class ExitKind : std::uint8_t {
  Kicked,            ///< kick() was called; run again at will
  Halted,            ///< HLT, where the accelerator does not wait for interrupts itself
  Shutdown,          ///< triple fault
  EmulationFailure,  ///< an instruction it cannot execute; `instruction` holds what is known of it
  EntryFailure,      ///< the processor refused the state; `detail` is its reason code
  MemoryFault,       ///< an access that could not be completed; `detail` is the address when known
  InternalError,     ///< the accelerator gave up; `detail` is its code
};

std::string_view exit_kind_name(ExitKind kind);

struct Exit {
  ExitKind kind = ExitKind::Kicked;
  std::uint64_t detail = 0;
  std::uint8_t instruction_length = 0;
  std::array<std::byte, 15> instruction{};
};

/// Counts of what run() handled inside. Read by any thread.
struct ExitCounters {
  std::uint64_t total = 0, port_in = 0, port_out = 0, mmio_read = 0, mmio_write = 0, kicked = 0;
};

/// One virtual processor. Everything but kick() and counters() belongs to the thread that runs it,
/// or to any one thread while it does not run.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  virtual std::uint32_t id() const = 0;

  /// Executes guest code, sending accesses to `handler`, until there is something to decide. When
  /// it returns no access is half done, so state() is consistent.
  virtual Exit run(ExitHandler& handler) = 0;
  /// Makes the current or the next run() return Kicked soon. Any thread.
  virtual void kick() = 0;

  virtual Status set_cpuid(std::span<const CpuidLeaf> leaves) = 0;
  virtual Result<GeneralRegisters> general_registers() const = 0;
  virtual Status set_general_registers(const GeneralRegisters& registers) = 0;
  virtual Result<SystemRegisters> system_registers() const = 0;
  virtual Status set_system_registers(const SystemRegisters& registers) = 0;
  /// FailedPrecondition/MSR_REFUSED names the first one that was not taken.
  virtual Status set_msrs(std::span<const Msr> msrs) = 0;
  /// set_state(): InvalidArgument/STATE_REFUSED when the state does not fit this processor,
  /// FailedPrecondition/CPU_FEATURE when its TSC has another frequency and cannot be scaled.
  virtual Result<CpuState> state() const = 0;
  virtual Status set_state(const CpuState& state) = 0;
  virtual Status set_run_state(RunState run_state) = 0;
  /// Lint 0 as external interrupt, lint 1 as NMI: what firmware leaves behind.
  virtual Status prepare_local_apic() = 0;
  /// Tells the guest's paravirtual clock that it was stopped, so that its watchdogs stay calm.
  virtual void note_pause() = 0;
  virtual ExitCounters counters() const = 0;
};

/// Where a message-signalled interrupt goes (PCI 3.0, 6.8.1).
struct MsiMessage {
  std::uint64_t address = 0;
  std::uint32_t data = 0;

  bool operator==(const MsiMessage&) const = default;
};

/// One message-signalled interrupt of a device.
class MsiLine {
 public:
  virtual ~MsiLine() = default;
  /// Takes effect before it returns. Not at once with another route() of the same line.
  virtual Status route(const MsiMessage& message) = 0;
  /// Any thread, does not block. Nothing happens before the first route().
  virtual void raise() = 0;
};

/// Optional ability: guest writes that only wake a thread become events without leaving the kernel.
class Doorbells {
 public:
  virtual ~Doorbells() = default;
  /// A write of any size and value to `address` makes `event_fd` readable, and no ExitHandler call.
  virtual Status attach(Gpa address, int event_fd) = 0;
  virtual Status detach(Gpa address, int event_fd) = 0;
};

/// A page that a vCPU wrote to, or may have: KVM also names what is read for the first time.
struct DirtyPage {
  std::uint32_t slot = 0;
  std::uint64_t page = 0;  ///< counted from the slot's first

  auto operator<=>(const DirtyPage&) const = default;
};

/// Optional ability: written pages are named one by one, which costs what was written instead of
/// what there is. Replaces Partition::take_dirty().
class DirtyRing {
 public:
  virtual ~DirtyRing() = default;
  /// Before the first vCPU; slots say whether they are tracked as ever. InvalidArgument/
  /// DIRTY_RING_SIZE, Unimplemented/DIRTY_RING_ABSENT.
  virtual Status enable(std::uint32_t pages_per_vcpu) = 0;
  /// Appends the pages written since the last call, each once, in no order. Pages that a running
  /// vCPU is about to write are named later: park the vCPUs for the last round.
  virtual Status take(std::vector<DirtyPage>& out) = 0;
};

struct MemorySlot {
  std::uint32_t id = 0;
  Gpa address = 0;
  std::uint64_t size = 0;  ///< bytes
  std::byte* host = nullptr;
  bool read_only = false;
  bool track_dirty = false;
};

/// One virtual machine inside the accelerator. Thread-safe.
class Partition {
 public:
  virtual ~Partition() = default;

  /// Adds, changes (same id) or, with size 0, removes a slot.
  virtual Status set_memory(const MemorySlot& slot) = 0;
  /// Moves the bits of pages written by vCPUs since the last call into `bitmap` (OR-ed).
  /// FailedPrecondition/DIRTY_LOG_OFF.
  virtual Status take_dirty(std::uint32_t slot, std::span<std::uint64_t> bitmap) = 0;

  virtual Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t id) = 0;

  /// Level of an interrupt line of the 8259/IOAPIC pair (0..23).
  virtual void set_irq(std::uint32_t line, bool level) = 0;
  virtual Result<std::unique_ptr<MsiLine>> create_msi_line() = 0;

  virtual Result<InterruptControllerState> interrupt_state() const = 0;
  virtual Status set_interrupt_state(const InterruptControllerState& state) = 0;
  /// The guest's paravirtual clock in nanoseconds. Only while no vCPU runs.
  virtual Result<std::uint64_t> clock() const = 0;
  virtual Status set_clock(std::uint64_t nanoseconds) = 0;

  virtual Doorbells* doorbells() { return nullptr; }
  virtual DirtyRing* dirty_ring() { return nullptr; }
};

class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual std::string_view name() const = 0;  ///< "kvm"
  virtual std::uint32_t max_vcpus() const = 0;
  /// What this accelerator can show a guest, before the machine shapes it (cpu/cpuid.h).
  virtual Result<std::vector<CpuidLeaf>> supported_cpuid() const = 0;
  /// With `memory` mapped. Later set_memory() calls cost milliseconds where the accelerator waits
  /// for everybody who might still see the old map.
  virtual Result<std::unique_ptr<Partition>> create_partition(
      std::span<const MemorySlot> memory) = 0;
};

}  // namespace reeve::core::accel
