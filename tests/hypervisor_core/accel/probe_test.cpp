#include "hypervisor_core/accel/kvm/probe.h"

#include <condition_variable>
#include <functional>
#include <mutex>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/hypervisor_core/support/fake_partition.h"
#include "tests/hypervisor_core/support/payload.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::accel {
namespace {

constexpr std::uint16_t kProgressPort = 0xf4;
constexpr std::uint8_t kWrongResult = 0xff;
const std::string kNeedsHardware =
    "use a machine with hardware virtualisation, or the libvirt driver with software emulation";

/// What a processor makes of the payload: the steps it tells of, and how run() ends.
struct Script {
  std::vector<std::uint8_t> steps{};
  Exit end{};
  bool runs_until_kicked = false;
};

class ScriptedVcpu final : public Vcpu {
 public:
  explicit ScriptedVcpu(const Script& script) : script_(script) {}
  Exit run(ExitHandler& handler) override {
    for (const auto step : script_.steps) {
      const auto byte = static_cast<std::byte>(step);
      handler.port_write(kProgressPort, std::span(&byte, 1));
    }
    std::unique_lock lock(mutex_);
    if (kicked_) return {};
    if (!script_.runs_until_kicked) return script_.end;
    kicks_.wait(lock, [this] { return kicked_; });
    return {};
  }
  void kick() override {
    {
      std::scoped_lock lock(mutex_);
      kicked_ = true;
    }
    kicks_.notify_all();
  }

  std::uint32_t id() const override { return 0; }
  Status set_cpuid(std::span<const CpuidLeaf>) override { return {}; }
  Result<GeneralRegisters> general_registers() const override { return GeneralRegisters{}; }
  Status set_general_registers(const GeneralRegisters&) override { return {}; }
  Result<SystemRegisters> system_registers() const override { return SystemRegisters{}; }
  Status set_system_registers(const SystemRegisters&) override { return {}; }
  Status set_msrs(std::span<const Msr>) override { return {}; }
  Result<CpuState> state() const override { return CpuState{}; }
  Status set_state(const CpuState&) override { return {}; }
  Status set_run_state(RunState) override { return {}; }
  Status prepare_local_apic() override { return {}; }
  void note_pause() override {}
  ExitCounters counters() const override { return {}; }

 private:
  const Script& script_;
  std::mutex mutex_;
  std::condition_variable kicks_;
  bool kicked_ = false;
};

class ScriptedPartition final : public core::test::FakePartition {
 public:
  explicit ScriptedPartition(const Script& script) : script_(script) {}
  Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t) override {
    return std::unique_ptr<Vcpu>(std::make_unique<ScriptedVcpu>(script_));
  }

 private:
  const Script& script_;
};

/// An accelerator on which the payload fares as told.
class Scripted final : public Accelerator {
 public:
  explicit Scripted(Script script) : script_(std::move(script)) {}
  std::string_view name() const override { return "scripted"; }
  std::uint32_t max_vcpus() const override { return 1; }
  Result<std::vector<CpuidLeaf>> supported_cpuid() const override {
    return std::vector<CpuidLeaf>{};
  }
  Result<std::unique_ptr<Partition>> create_partition(std::span<const MemorySlot>) override {
    if (refuses) return Error{Code::ResourceExhausted, "SYSTEM_CALL", "no room for another VM"};
    return std::unique_ptr<Partition>(std::make_unique<ScriptedPartition>(script_));
  }
  bool refuses = false;

 private:
  const Script script_;
};

KvmUsability probe(const Script& script) {
  Scripted accelerator(script);
  return probe_accelerator(accelerator, std::chrono::milliseconds(50));
}

Script ends_with(std::vector<std::uint8_t> steps, Exit end) {
  return {.steps = std::move(steps), .end = end};
}

}  // namespace

TEST_CASE("the KVM of this machine is usable where it is known to be real", "[accel]") {
  auto probed = probe_kvm();
  REQUIRE(probed.ok());
  const auto& kvm = probed.value();
  WARN(kvm.reason << ": " << kvm.summary << " (" << kvm.took.count() << " us)");
  CHECK(kvm.usable == (kvm.reason == "KVM_OK"));
  CHECK_FALSE(kvm.summary.empty());
  CHECK(kvm.usable == kvm.remedy.empty());
  CHECK(kvm.present == (access(kKvmDevice, R_OK | W_OK) == 0));
  if (core::test::kvm_is_real()) CHECK(kvm.usable);
}

TEST_CASE("a payload that gets to its end makes KVM usable", "[accel]") {
  const auto kvm = probe({.steps = {1, 2, 3, 4}, .runs_until_kicked = true});
  CHECK(kvm.present);
  CHECK(kvm.usable);
  CHECK(kvm.reason == "KVM_OK");
  CHECK(kvm.summary == "KVM runs unmodified guests");
  CHECK(kvm.remedy.empty());
}

TEST_CASE("a payload that fails says at which step and how, and KVM is not usable", "[accel]") {
  const auto check = [](const Script& script, const std::string& how) {
    const auto kvm = probe(script);
    CHECK(kvm.present);
    CHECK_FALSE(kvm.usable);
    CHECK(kvm.reason == "KVM_EMULATED");
    CHECK(kvm.summary == "KVM present, cannot run unmodified guests (emulated): " + how);
    CHECK(kvm.remedy == kNeedsHardware);
  };
  Exit int3{.kind = ExitKind::EmulationFailure, .detail = 1, .instruction_length = 2};
  int3.instruction = {std::byte{0xcc}, std::byte{0x90}};
  check(ends_with({1}, int3), "emulation failure at int3, instruction bytes cc90");
  check(ends_with({}, {.kind = ExitKind::EntryFailure, .detail = 33}),
        "entry failure at 64-bit mode, code 33");
  check(ends_with({1, 2}, {.kind = ExitKind::InternalError, .detail = 3}),
        "internal error at SSE2, code 3");
  check(ends_with({1, 2, 3}, {.kind = ExitKind::Shutdown}), "triple fault at cmpxchg16b");
  check({.steps = {1, kWrongResult}, .runs_until_kicked = true}, "wrong result at int3");
  check({.steps = {1, 2}, .runs_until_kicked = true}, "no progress in time at SSE2");
  check({.runs_until_kicked = true}, "no progress in time at 64-bit mode");
}

TEST_CASE("an accelerator that does not set a guest up is not usable, and says why", "[accel]") {
  Scripted accelerator({});
  accelerator.refuses = true;
  const auto kvm = probe_accelerator(accelerator);
  CHECK(kvm.present);
  CHECK_FALSE(kvm.usable);
  CHECK(kvm.reason == "KVM_EMULATED");
  CHECK(kvm.summary == "KVM present, cannot run unmodified guests: no room for another VM");
  CHECK(kvm.remedy == kNeedsHardware);
}

TEST_CASE("a machine without KVM is reported as absent", "[accel]") {
  auto probed = probe_kvm("/dev/no-such-kvm");
  REQUIRE(probed.ok());
  const auto& kvm = probed.value();
  CHECK_FALSE(kvm.present);
  CHECK_FALSE(kvm.usable);
  CHECK(kvm.reason == "KVM_ABSENT");
  CHECK(kvm.summary.find("/dev/no-such-kvm") != std::string::npos);
  CHECK(kvm.remedy == "enable hardware virtualisation and load the kvm module");
}

TEST_CASE("a KVM that may not be opened is reported with who must be let in", "[accel]") {
  const reeve::test::TempDir dir;
  const auto device = (dir / "kvm").string();
  REQUIRE(open_file(device, O_RDWR | O_CREAT, 0600).ok());
  REQUIRE(chmod(device.c_str(), 0) == 0);
  const auto before = static_cast<uid_t>(setfsuid(65534));  // of this thread; root may open all
  auto probed = probe_kvm(device.c_str());
  setfsuid(before);
  REQUIRE(probed.ok());
  const auto& kvm = probed.value();
  CHECK_FALSE(kvm.present);
  CHECK_FALSE(kvm.usable);
  CHECK(kvm.reason == "KVM_ACCESS");
  CHECK(kvm.summary.find(device) != std::string::npos);
  CHECK(kvm.remedy == "give the agent's user access to /dev/kvm (group kvm)");
}

TEST_CASE("a device that is not the KVM we know is present and not usable", "[accel]") {
  auto probed = probe_kvm("/dev/null");
  REQUIRE(probed.ok());
  const auto& kvm = probed.value();
  CHECK(kvm.present);
  CHECK_FALSE(kvm.usable);
  CHECK(kvm.reason == "KVM_TOO_OLD");
  CHECK(kvm.summary == "the KVM interface has another version");
  CHECK_FALSE(kvm.remedy.empty());
}

}  // namespace reeve::core::accel
