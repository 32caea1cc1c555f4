// hypervisor_core/virtio/timer_fd.h - a one-shot timer that a worker can watch.
#pragma once

#include <chrono>
#include <cstdint>

#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"

namespace reeve::core::virtio {

class TimerFd {
 public:
  static Result<TimerFd> create() {
    Fd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!fd) return errno_error("making a timer");
    return TimerFd(std::move(fd));
  }
  int fd() const { return fd_.get(); }

  /// Readable once after `delay`; replaces an earlier call. Zero or less fires at once.
  void arm(std::chrono::microseconds delay) {
    const auto us = std::max<std::int64_t>(delay.count(), 1);
    itimerspec when{};
    when.it_value.tv_sec = us / 1'000'000;
    when.it_value.tv_nsec = us % 1'000'000 * 1000;
    (void)::timerfd_settime(fd_.get(), 0, &when, nullptr);
  }
  void disarm() {
    const itimerspec never{};
    (void)::timerfd_settime(fd_.get(), 0, &never, nullptr);
  }
  /// Forgets that it fired.
  void drain() {
    std::uint64_t count = 0;
    (void)!::read(fd_.get(), &count, sizeof count);
  }

 private:
  explicit TimerFd(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace reeve::core::virtio
