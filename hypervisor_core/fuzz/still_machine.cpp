#include "hypervisor_core/fuzz/still_machine.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/file.h"

namespace reeve::core::fuzz {
namespace {

constexpr std::uint64_t kDiskBytes = 64 << 10;

class StillVcpu final : public accel::Vcpu {
 public:
  explicit StillVcpu(std::uint32_t id) : id_(id) {}
  std::uint32_t id() const override { return id_; }
  accel::Exit run(accel::ExitHandler&) override {
    kicked_.wait(false);
    kicked_ = false;
    return {.kind = accel::ExitKind::Kicked};
  }
  void kick() override {
    kicked_ = true;
    kicked_.notify_all();
  }

  Status set_cpuid(std::span<const accel::CpuidLeaf>) override { return {}; }
  Result<accel::GeneralRegisters> general_registers() const override { return state_.general; }
  Status set_general_registers(const accel::GeneralRegisters& registers) override {
    state_.general = registers;
    return {};
  }
  Result<accel::SystemRegisters> system_registers() const override { return state_.system; }
  Status set_system_registers(const accel::SystemRegisters& registers) override {
    state_.system = registers;
    return {};
  }
  Status set_msrs(std::span<const accel::Msr> msrs) override {
    state_.msrs.assign(msrs.begin(), msrs.end());
    return {};
  }
  Result<accel::CpuState> state() const override { return state_; }
  Status set_state(const accel::CpuState& state) override {
    state_ = state;
    return {};
  }
  Status set_run_state(accel::RunState run_state) override {
    state_.run_state = run_state;
    return {};
  }
  Status prepare_local_apic() override { return {}; }
  void note_pause() override {}
  accel::ExitCounters counters() const override { return {}; }

 private:
  const std::uint32_t id_;
  accel::CpuState state_{};
  std::atomic<bool> kicked_{false};
};

class StillPartition final : public accel::Partition, public accel::Doorbells {
 public:
  Status set_memory(const accel::MemorySlot&) override { return {}; }
  Status take_dirty(std::uint32_t, std::span<std::uint64_t>) override { return {}; }
  Result<std::unique_ptr<accel::Vcpu>> create_vcpu(std::uint32_t id) override {
    return std::unique_ptr<accel::Vcpu>(std::make_unique<StillVcpu>(id));
  }
  void set_irq(std::uint32_t, bool) override {}
  Result<std::unique_ptr<accel::MsiLine>> create_msi_line() override {
    return std::unique_ptr<accel::MsiLine>(std::make_unique<Line>());
  }
  Result<accel::InterruptControllerState> interrupt_state() const override { return interrupts_; }
  Status set_interrupt_state(const accel::InterruptControllerState& state) override {
    interrupts_ = state;
    return {};
  }
  Result<std::uint64_t> clock() const override { return clock_; }
  Status set_clock(std::uint64_t nanoseconds) override {
    clock_ = nanoseconds;
    return {};
  }
  accel::Doorbells* doorbells() override { return this; }
  Status attach(Gpa, int) override { return {}; }
  Status detach(Gpa, int) override { return {}; }

 private:
  struct Line final : accel::MsiLine {
    Status route(const accel::MsiMessage&) override { return {}; }
    void raise() override {}
  };
  accel::InterruptControllerState interrupts_{};
  std::uint64_t clock_ = 0;
};

/// A Multiboot kernel without code.
std::string kernel_image() {
  const std::uint32_t flags = 1u << 16;
  const std::array<std::uint32_t, 8> header{
      0x1badb002, flags, 0u - 0x1badb002 - flags, 0x100000, 0x100000, 0x101000, 0x102000, 0x100040};
  std::string image(4096, '\0');
  std::memcpy(image.data(), header.data(), sizeof header);
  return image;
}

std::string path_of(const Fd& file) {
  return "/proc/self/fd/" + std::to_string(file.get());
}

}  // namespace

Result<std::vector<accel::CpuidLeaf>> StillAccelerator::supported_cpuid() const {
  return std::vector<accel::CpuidLeaf>{
      {.function = 0, .eax = 7, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69},
      {.function = 1, .eax = 0x806e9, .ebx = 0x800, .ecx = 0xf7fa3203, .edx = 0x0f8bfbff},
      {.function = 7, .index_matters = true, .ebx = 0x29c6fbf},
      {.function = 0x80000000, .eax = 0x80000008},
      {.function = 0x80000001, .ecx = 0x121, .edx = 0x2c100800},
      {.function = 0x80000008, .eax = 0x3027}};
}

Result<std::unique_ptr<accel::Partition>> StillAccelerator::create_partition(
    std::span<const accel::MemorySlot>) {
  return std::unique_ptr<accel::Partition>(std::make_unique<StillPartition>());
}

StillWorld::StillWorld(const std::filesystem::path& folder)
    : folder_(folder),
      kernel_(memfd_create("kernel", MFD_CLOEXEC)),
      disk_(memfd_create("disk", MFD_CLOEXEC)) {
  const auto image = kernel_image();
  REEVE_CHECK(write_at(kernel_.get(), 0, std::as_bytes(std::span(image))).ok());
  REEVE_CHECK(ftruncate(disk_.get(), kDiskBytes) == 0);
}

v1::MachineConfig StillWorld::config() const {
  v1::MachineConfig config;
  config.set_vcpus(2);
  config.set_memory_mib(4);
  config.set_kernel_path(path_of(kernel_));
  config.set_uuid("6f2b1c1e-0f5d-4a58-9d3c-0b9a3a6c1d2e");
  auto& disk = *config.add_disks();
  disk.set_id("disk");
  auto& layer = *disk.add_layers();
  layer.set_path(path_of(disk_));
  layer.set_format(v1::DISK_FORMAT_RAW);
  auto& nic = *config.add_nics();
  nic.set_id("nic");
  nic.set_mac("52:54:00:00:00:01");
  nic.set_tap_name("none");
  config.set_rng(true);
  config.set_console(true);
  config.set_guest_agent(true);
  config.set_balloon(true);
  config.set_vsock_cid(3);
  config.set_vsock_path((folder_ / "vsock").native());
  config.set_debug_exit(true);
  return config;
}

OpenNetwork StillWorld::open_network() {
  return [this](const v1::NicConfig&) -> Result<std::unique_ptr<NetBackend>> {
    auto ends = TRY(LoopbackBackend::create());
    far_end_ = std::move(ends.second);
    return std::unique_ptr<NetBackend>(std::move(ends.first));
  };
}

}  // namespace reeve::core::fuzz
