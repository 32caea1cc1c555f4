// tests/hypervisor_core/support/payload.h - a tiny real-mode guest on /dev/kvm.
#pragma once

#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "hypervisor_core/accel/kvm/kvm.h"

namespace reeve::core::test {

/// True in the KVM lab (tests/hypervisor_core/lab/unit_lab_test.cpp): KVM with hardware behind it.
/// Nothing may be skipped there, and what only emulations of KVM get wrong is an error.
inline bool kvm_is_real() {
  const char* set = std::getenv("REEVE_KVM_IS_REAL");
  return set != nullptr && std::string_view(set) == "1";
}

inline void skip(const Error& why) {
  if (kvm_is_real()) FAIL("must not be skipped here: " << why.message());
  WARN("skipped: " << why.message());
}

/// KVM of this machine, or null with a printed reason: the test then ends early.
inline std::unique_ptr<accel::Accelerator> kvm_or_skip() {
  auto device = accel::open_kvm_device();
  if (!device.ok()) return skip(device.error()), nullptr;
  auto kvm = accel::make_kvm(std::move(device).value());
  if (!kvm.ok()) return skip(kvm.error()), nullptr;
  return std::move(kvm).value();
}

/// One vCPU in real mode at `kCode`, 1 MiB of RAM.
struct Payload {
  static constexpr Gpa kCode = 0x1000;

  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<accel::Partition> partition;
  std::unique_ptr<accel::Vcpu> vcpu;

  /// A `dirty_ring` of 0 pages leaves it off.
  Payload(accel::Accelerator& kvm, std::initializer_list<int> code, bool track_dirty = false,
          std::uint32_t dirty_ring = 0) {
    const MemoryRange range{0, 1 << 20};
    memory = take(GuestMemory::create(std::span(&range, 1)));
    std::vector<std::byte> bytes;
    for (const int byte : code) bytes.push_back(static_cast<std::byte>(byte));
    REQUIRE(memory->write(kCode, bytes));
    partition = take(kvm.create_partition({}));
    if (dirty_ring != 0) REQUIRE(partition->dirty_ring()->enable(dirty_ring).ok());
    REQUIRE(partition
                ->set_memory({.address = 0,
                              .size = range.size,
                              .host = memory->regions()[0].host,
                              .track_dirty = track_dirty})
                .ok());
    vcpu = take(partition->create_vcpu(0));
    auto system = take(vcpu->system_registers());
    system.cs.base = 0;
    system.cs.selector = 0;
    REQUIRE(vcpu->set_system_registers(system).ok());
    REQUIRE(vcpu->set_general_registers({.rsp = 0x8000, .rip = kCode}).ok());
  }

  template <class T>
  static T take(Result<T> result) {
    if (!result.ok()) FAIL(result.error().message());
    return std::move(result).value();
  }
};

/// Records accesses; a write to port 0xf4 stops the vCPU.
class Recorder final : public accel::ExitHandler {
 public:
  explicit Recorder(accel::Vcpu& vcpu) : vcpu_(vcpu) {}
  struct Access {
    char kind;  ///< 'i' in, 'o' out, 'r' MMIO read, 'w' MMIO write
    std::uint64_t address, size, value;
    bool operator==(const Access&) const = default;
  };
  std::vector<Access> accesses;
  std::uint64_t answer = 0;

  void port_read(std::uint16_t port, std::span<std::byte> out) override { reply('i', port, out); }
  void port_write(std::uint16_t port, std::span<const std::byte> value) override {
    note('o', port, value);
    if (port == 0xf4) vcpu_.kick();
  }
  void mmio_read(Gpa address, std::span<std::byte> out) override { reply('r', address, out); }
  void mmio_write(Gpa address, std::span<const std::byte> value) override {
    note('w', address, value);
  }

 private:
  void reply(char kind, std::uint64_t address, std::span<std::byte> out) {
    std::memcpy(out.data(), &answer, out.size());
    accesses.push_back({kind, address, out.size(), 0});
  }
  void note(char kind, std::uint64_t address, std::span<const std::byte> value) {
    std::uint64_t number = 0;
    std::memcpy(&number, value.data(), value.size());
    accesses.push_back({kind, address, value.size(), number});
  }
  accel::Vcpu& vcpu_;
};

}  // namespace reeve::core::test
