#include <algorithm>
#include <cstring>
#include <mutex>

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hypervisor_core/accel/kvm/ioctl.h"
#include "hypervisor_core/accel/kvm/vcpu.h"

namespace reeve::core::accel::kvm {
namespace {

void ignore_signal(int) {}

// The kick signal only has to interrupt KVM_RUN, so its handler is empty; without SA_RESTART.
void install_kick_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_handler = ignore_signal;
    sigemptyset(&action.sa_mask);
    sigaction(SIGRTMIN, &action, nullptr);
  });
}

}  // namespace

Result<std::unique_ptr<Vcpu>> KvmVcpu::create(Fd fd, std::uint32_t id, const VcpuTraits& traits,
                                              KvmDirtyRing& dirty_ring) {
  install_kick_handler();
  std::unique_ptr<KvmVcpu> vcpu(new KvmVcpu(std::move(fd), id, traits, dirty_ring));
  void* mapping =
      mmap(nullptr, traits.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd_.get(), 0);
  if (mapping == MAP_FAILED) return errno_error("mapping kvm_run");
  vcpu->run_ = static_cast<kvm_run*>(mapping);
  TRY(dirty_ring.add(vcpu->fd_.get()));
  return std::unique_ptr<Vcpu>(std::move(vcpu));
}

KvmVcpu::~KvmVcpu() {
  dirty_ring_.remove(fd_.get());
  if (run_ != nullptr) munmap(run_, traits_.run_size);
}

void KvmVcpu::kick() {
  Lock lock(kick_mutex_);
  kicked_ = true;
  // The flag covers a kick before KVM_RUN, the signal one during it.
  std::atomic_ref<std::uint8_t>(run_->immediate_exit).store(1, std::memory_order_release);
  if (running_thread_ != 0) syscall(SYS_tgkill, getpid(), running_thread_, SIGRTMIN);
}

bool KvmVcpu::take_kick() {
  Lock lock(kick_mutex_);
  std::atomic_ref<std::uint8_t>(run_->immediate_exit).store(0, std::memory_order_relaxed);
  return std::exchange(kicked_, false);
}

void KvmVcpu::leave() {
  Lock lock(kick_mutex_);
  running_thread_ = 0;
}

Exit KvmVcpu::run(ExitHandler& handler) {
  {
    Lock lock(kick_mutex_);
    running_thread_ = static_cast<pid_t>(syscall(SYS_gettid));
  }
  const auto finish = [this](Exit exit) {
    leave();
    return exit;
  };
  for (;;) {
    const int result = ioctl(fd_.get(), KVM_RUN, 0);
    const int error = errno;
    count(counters_.total);
    if (result < 0) {
      if (error == EINTR && take_kick()) {
        count(counters_.kicked);
        return finish({});
      }
      if (error == EINTR || error == EAGAIN) continue;
      const auto kind = error == EFAULT ? ExitKind::MemoryFault : ExitKind::InternalError;
      return finish({.kind = kind, .detail = static_cast<std::uint64_t>(error)});
    }
    switch (run_->exit_reason) {
      case KVM_EXIT_IO: handle_port(handler); break;
      case KVM_EXIT_MMIO: handle_mmio(handler); break;
      case KVM_EXIT_DIRTY_RING_FULL:
        if (!dirty_ring_.empty().ok()) return finish({.kind = ExitKind::InternalError});
        break;
      case KVM_EXIT_INTR:
      case KVM_EXIT_IRQ_WINDOW_OPEN: break;
      case KVM_EXIT_HLT: return finish({.kind = ExitKind::Halted});
      case KVM_EXIT_SHUTDOWN: return finish({.kind = ExitKind::Shutdown});
      case KVM_EXIT_FAIL_ENTRY:
        return finish({.kind = ExitKind::EntryFailure,
                       .detail = run_->fail_entry.hardware_entry_failure_reason});
      case KVM_EXIT_INTERNAL_ERROR: return finish(internal_error());
      default: return finish({.kind = ExitKind::InternalError, .detail = run_->exit_reason});
    }
  }
}

void KvmVcpu::handle_port(ExitHandler& handler) {
  auto* data = reinterpret_cast<std::byte*>(run_) + run_->io.data_offset;
  const std::size_t size = run_->io.size;
  const bool in = run_->io.direction == KVM_EXIT_IO_IN;
  count(in ? counters_.port_in : counters_.port_out);
  for (std::uint32_t i = 0; i < run_->io.count; ++i, data += size) {
    if (in)
      handler.port_read(run_->io.port, std::span(data, size));
    else
      handler.port_write(run_->io.port, std::span<const std::byte>(data, size));
  }
}

void KvmVcpu::handle_mmio(ExitHandler& handler) {
  auto* data = reinterpret_cast<std::byte*>(run_->mmio.data);
  const std::size_t size = std::min<std::size_t>(run_->mmio.len, sizeof run_->mmio.data);
  if (run_->mmio.is_write) {
    count(counters_.mmio_write);
    handler.mmio_write(run_->mmio.phys_addr, std::span<const std::byte>(data, size));
  } else {
    count(counters_.mmio_read);
    handler.mmio_read(run_->mmio.phys_addr, std::span(data, size));
  }
}

Exit KvmVcpu::internal_error() const {
  if (run_->internal.suberror != KVM_INTERNAL_ERROR_EMULATION)
    return {.kind = ExitKind::InternalError, .detail = run_->internal.suberror};
  Exit exit{.kind = ExitKind::EmulationFailure};
  const auto& failure = run_->emulation_failure;
  // ndata counts 64-bit words after itself: flags, then size and bytes of the instruction.
  if (failure.ndata >= 3 &&
      (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0) {
    exit.instruction_length = std::min<std::uint8_t>(failure.insn_size, 15);
    std::memcpy(exit.instruction.data(), failure.insn_bytes, exit.instruction_length);
  }
  return exit;
}

ExitCounters KvmVcpu::counters() const {
  return {.total = counters_.total,
          .port_in = counters_.port_in,
          .port_out = counters_.port_out,
          .mmio_read = counters_.mmio_read,
          .mmio_write = counters_.mmio_write,
          .kicked = counters_.kicked};
}

}  // namespace reeve::core::accel::kvm
