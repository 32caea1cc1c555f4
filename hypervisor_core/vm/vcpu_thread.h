// hypervisor_core/vm/vcpu_thread.h - the thread that runs one vCPU, and how it is halted.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/sandbox/role.h"

namespace reeve::core {

/// Parked at first, without a thread. While parked the vCPU belongs to whoever parked it.
class VcpuThread {
 public:
  struct Hooks {
    /// An exit that the vCPU cannot go on from; called on its thread, which parks afterwards.
    std::function<void(std::uint32_t vcpu, const accel::Exit& exit)> on_exit{};
    /// Runs on the thread before its first guest code: seccomp filter. An error counts as an exit.
    PrepareThread prepare{};
  };

  /// `handler` outlives the thread.
  VcpuThread(std::unique_ptr<accel::Vcpu> vcpu, accel::ExitHandler& handler, Hooks hooks);
  ~VcpuThread();  ///< parks and ends
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  void run();
  /// Makes the vCPU leave the guest soon. Any thread, also its own.
  void request_park();
  /// Waits until it has; not from its own thread.
  void wait_parked();

  accel::Vcpu& vcpu() { return *vcpu_; }
  const accel::Vcpu& vcpu() const { return *vcpu_; }
  /// CPU time the thread used, in microseconds.
  std::uint64_t cpu_time_us() const;

 private:
  enum class Wish : std::uint8_t { Park, Run, End };
  void begin() REEVE_REQUIRES(mutex_);
  void work();
  bool wait_for_work();

  std::unique_ptr<accel::Vcpu> vcpu_;
  accel::ExitHandler& handler_;
  const Hooks hooks_;
  mutable Mutex mutex_;
  CondVar changed_;
  Wish wish_ REEVE_GUARDED_BY(mutex_) = Wish::Park;
  bool parked_ REEVE_GUARDED_BY(mutex_) = true;
  std::atomic<int> clock_id_{-1};
  std::thread thread_;
};

}  // namespace reeve::core
