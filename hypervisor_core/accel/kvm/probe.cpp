#include "hypervisor_core/accel/kvm/probe.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/bytes.h"
#include "base/text.h"
#include "hypervisor_core/accel/flat_segments.h"

// The payload: position-independent 64-bit code. Each step tells its number to kProgressPort.
// rsp, rdi (16 zero bytes) and the interrupt table are prepared by the host.
asm(R"(
  .pushsection .rodata
  .balign 16
  .globl reeve_probe_begin, reeve_probe_int3, reeve_probe_end
reeve_probe_begin:
  movb $1, %al
  outb %al, $0xf4
  xorl %ebx, %ebx
  int3
  cmpl $1, %ebx
  jne 9f
  movb $2, %al
  outb %al, $0xf4
  movl $0x12345678, %eax
  movd %eax, %xmm0
  pshufd $0, %xmm0, %xmm1
  paddd %xmm0, %xmm1
  movd %xmm1, %ecx
  cmpl $0x2468acf0, %ecx
  jne 9f
  movb $3, %al
  outb %al, $0xf4
  xorl %eax, %eax
  xorl %edx, %edx
  movl $7, %ebx
  movl $9, %ecx
  lock cmpxchg16b (%rdi)
  jne 9f
  cmpq $7, (%rdi)
  jne 9f
  movb $4, %al
  outb %al, $0xf4
8: hlt
  jmp 8b
9: movb $0xff, %al
  outb %al, $0xf4
  jmp 8b
  .balign 16
reeve_probe_int3:
  incl %ebx
  iretq
reeve_probe_end:
  .popsection
)");
extern "C" const std::byte reeve_probe_begin[], reeve_probe_int3[], reeve_probe_end[];

namespace reeve::core::accel {
namespace {

constexpr std::uint16_t kProgressPort = 0xf4;
constexpr std::uint8_t kLastStep = 4;
constexpr std::uint8_t kWrongResult = 0xff;
constexpr std::array<const char*, kLastStep> kSteps{"64-bit mode", "int3", "SSE2", "cmpxchg16b"};

constexpr Gpa kGdt = 0x1000, kPml4 = 0x2000, kPdpt = 0x3000, kPd = 0x4000, kIdt = 0x5000;
constexpr Gpa kCode = 0x8000, kScratch = 0x9000, kStack = 0x10000;
constexpr std::uint64_t kMemory = 2 << 20;

/// Notes the payload's progress and stops the vCPU at its end.
class Progress final : public ExitHandler {
 public:
  void attach(Vcpu& vcpu) { vcpu_ = &vcpu; }
  void port_read(std::uint16_t, std::span<std::byte> out) override { blank(out); }
  void port_write(std::uint16_t port, std::span<const std::byte> value) override {
    if (port != kProgressPort) return;
    step_ = std::to_integer<std::uint8_t>(value[0]);
    if (step_ == kLastStep || step_ == kWrongResult) vcpu_->kick();
    if (step_ != kWrongResult) reached_ = step_;
  }
  void mmio_read(Gpa, std::span<std::byte> out) override { blank(out); }
  void mmio_write(Gpa, std::span<const std::byte>) override {}

  bool passed() const { return step_ == kLastStep; }
  bool wrong() const { return step_ == kWrongResult; }
  /// Name of the step that did not complete.
  const char* stuck_at() const {
    return kSteps[std::min<std::size_t>(reached_, kSteps.size() - 1)];
  }

 private:
  static void blank(std::span<std::byte> out) {
    for (auto& byte : out) byte = std::byte{0xff};
  }
  Vcpu* vcpu_ = nullptr;
  std::uint8_t step_ = 0, reached_ = 0;
};

/// Kicks the vCPU when the time is up.
class Watchdog {
 public:
  Watchdog(Vcpu& vcpu, std::chrono::milliseconds deadline)
      : thread_([this, &vcpu, deadline] {
          std::unique_lock lock(mutex_);
          if (!wake_.wait_for(lock, deadline, [this] { return done_; })) {
            expired_ = true;
            vcpu.kick();
          }
        }) {}
  ~Watchdog() {
    {
      std::scoped_lock lock(mutex_);
      done_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  bool expired() const { return expired_; }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::atomic<bool> expired_{false};
  std::thread thread_;
};

bool write_payload(GuestMemory& memory) {
  const std::uint64_t code = descriptor_of(flat_code(0x8, CodeSize::Bits64));
  const std::uint64_t data = descriptor_of(flat_data(0x10));
  const Gpa int3 = kCode + static_cast<Gpa>(reeve_probe_int3 - reeve_probe_begin);
  const std::uint64_t gate = (int3 & 0xffff) | std::uint64_t{0x8} << 16 |
                             std::uint64_t{0x8e00} << 32 | (int3 >> 16 & 0xffff) << 48;
  return memory.write_le(kGdt + 8, code) && memory.write_le(kGdt + 16, data) &&
         memory.write_le(kPml4, kPdpt | 3) && memory.write_le(kPdpt, kPd | 3) &&
         memory.write_le(kPd, std::uint64_t{0x83}) &&  // one 2 MiB page, identity
         memory.write_le(kIdt + 3 * 16, gate) &&
         memory.write(kCode, std::span(reeve_probe_begin, reeve_probe_end));
}

Status load_registers(Vcpu& vcpu) {
  auto system = TRY(vcpu.system_registers());
  system.cs = flat_code(0x8, CodeSize::Bits64);
  system.ds = system.es = system.fs = system.gs = system.ss = flat_data(0x10);
  system.tr = task_segment(0x18, 0);
  system.gdt = {kGdt, 0x17};
  system.idt = {kIdt, 16 * 32 - 1};
  system.cr0 = 0x80010033;  // PG WP NE ET MP PE
  system.cr3 = kPml4;
  system.cr4 = 0x620;   // PAE OSFXSR OSXMMEXCPT
  system.efer = 0x500;  // LME LMA
  TRY(vcpu.set_system_registers(system));
  return vcpu.set_general_registers({.rdi = kScratch, .rsp = kStack, .rip = kCode});
}

KvmUsability unusable(const Error& error) {
  return {.reason = std::string(error.reason()),
          .summary = error.message(),
          .remedy = error.reason() == "KVM_ACCESS"
                        ? "give the agent's user access to /dev/kvm (group kvm)"
                        : "enable hardware virtualisation and load the kvm module"};
}

std::string describe(const Exit& exit, const Progress& progress, bool expired) {
  std::string out;
  if (progress.wrong()) {
    out = "wrong result";
  } else if (expired) {
    out = "no progress in time";
  } else {
    out = exit_kind_name(exit.kind);
  }
  out += std::string(" at ") + progress.stuck_at();
  if (exit.instruction_length > 0)
    out +=
        ", instruction bytes " + to_hex(std::span(exit.instruction).first(exit.instruction_length));
  else if (exit.detail != 0)
    out += ", code " + std::to_string(exit.detail);
  return out;
}

Result<KvmUsability> run_payload(Accelerator& kvm, std::chrono::milliseconds deadline) {
  const MemoryRange range{0, kMemory};
  auto memory = TRY(GuestMemory::create(std::span(&range, 1)));
  if (!write_payload(*memory))
    return Error{Code::Internal, "PROBE_PAYLOAD", "the payload does not fit"};
  const MemorySlot slot{.size = kMemory, .host = memory->regions()[0].host};
  auto partition = TRY(kvm.create_partition(std::span(&slot, 1)));
  auto vcpu = TRY(partition->create_vcpu(0));
  const auto cpuid = TRY(kvm.supported_cpuid());
  TRY(vcpu->set_cpuid(cpuid));
  TRY(load_registers(*vcpu));

  Progress progress;
  progress.attach(*vcpu);
  const auto begin = std::chrono::steady_clock::now();
  Exit exit;
  bool expired = false;
  {
    Watchdog watchdog(*vcpu, deadline);
    exit = vcpu->run(progress);
    expired = watchdog.expired();
  }
  KvmUsability out{.present = true, .usable = progress.passed()};
  out.took = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin);
  if (out.usable) {
    out.reason = "KVM_OK";
    out.summary = "KVM runs unmodified guests";
  } else {
    out.reason = "KVM_EMULATED";
    out.summary = "KVM present, cannot run unmodified guests (emulated): " +
                  describe(exit, progress, expired);
    out.remedy =
        "use a machine with hardware virtualisation, or the libvirt driver with software emulation";
  }
  return out;
}

}  // namespace

Result<KvmUsability> probe_kvm(const char* device, std::chrono::milliseconds deadline) {
  auto fd = open_kvm_device(device);
  if (!fd.ok()) return unusable(fd.error());
  auto kvm = make_kvm(std::move(fd).value());
  if (!kvm.ok()) {
    auto out = unusable(kvm.error());
    out.present = true;
    return out;
  }
  return probe_accelerator(*kvm.value(), deadline);
}

KvmUsability probe_accelerator(Accelerator& accelerator, std::chrono::milliseconds deadline) {
  auto out = run_payload(accelerator, deadline);
  if (out.ok()) return std::move(out).value();
  // A KVM that refuses to set a guest up is as unusable as one that cannot run it.
  return KvmUsability{
      .present = true,
      .reason = "KVM_EMULATED",
      .summary = "KVM present, cannot run unmodified guests: " + out.error().message(),
      .remedy =
          "use a machine with hardware virtualisation, or the libvirt driver "
          "with software emulation"};
}

}  // namespace reeve::core::accel
