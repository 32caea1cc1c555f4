#include "hypervisor_core/vm/vcpu_thread.h"

#include <string>
#include <utility>

#include <pthread.h>
#include <time.h>

namespace reeve::core {

VcpuThread::VcpuThread(std::unique_ptr<accel::Vcpu> vcpu, accel::ExitHandler& handler, Hooks hooks)
    : vcpu_(std::move(vcpu)), handler_(handler), hooks_(std::move(hooks)) {}

void VcpuThread::begin() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), ("vcpu-" + std::to_string(vcpu_->id())).c_str());
    work();
  });
  clockid_t clock = 0;
  if (pthread_getcpuclockid(thread_.native_handle(), &clock) == 0) clock_id_ = clock;
}

VcpuThread::~VcpuThread() {
  {
    Lock lock(mutex_);
    wish_ = Wish::End;
  }
  changed_.notify_all();
  vcpu_->kick();
  if (thread_.joinable()) thread_.join();
}

void VcpuThread::run() {
  {
    Lock lock(mutex_);
    if (wish_ == Wish::End) return;
    wish_ = Wish::Run;
    parked_ = false;
    if (!thread_.joinable()) begin();
  }
  changed_.notify_all();
}

void VcpuThread::request_park() {
  {
    Lock lock(mutex_);
    if (wish_ != Wish::Run) return;
    wish_ = Wish::Park;
  }
  vcpu_->kick();
}

void VcpuThread::wait_parked() {
  Lock lock(mutex_);
  while (!parked_) changed_.wait(lock);
}

bool VcpuThread::wait_for_work() {
  Lock lock(mutex_);
  while (wish_ != Wish::Run) {
    parked_ = true;
    changed_.notify_all();
    if (wish_ == Wish::End) return false;
    changed_.wait(lock);
  }
  return true;
}

void VcpuThread::work() {
  bool prepared = !hooks_.prepare;
  while (wait_for_work()) {
    // Late, so that the process can give up its rights between making and starting the machine.
    if (!prepared) {
      if (!hooks_.prepare(ThreadRole::Vcpu).ok()) {
        request_park();
        hooks_.on_exit(vcpu_->id(), {.kind = accel::ExitKind::InternalError});
        continue;
      }
      prepared = true;
    }
    const accel::Exit exit = vcpu_->run(handler_);
    if (exit.kind == accel::ExitKind::Kicked) continue;
    request_park();
    hooks_.on_exit(vcpu_->id(), exit);
  }
}

std::uint64_t VcpuThread::cpu_time_us() const {
  timespec time{};
  const int clock = clock_id_;
  if (clock == -1 || clock_gettime(clock, &time) != 0) return 0;
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec) / 1000;
}

}  // namespace reeve::core
