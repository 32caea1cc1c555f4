// hypervisor_core/virtio/wake_fd.h - how other threads make a device's worker look again.
#pragma once

#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

namespace reeve::core::virtio {

class WakeFd {
 public:
  static Result<WakeFd> create() {
    Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) return errno_error("making an eventfd");
    return WakeFd(std::move(fd));
  }
  int fd() const { return fd_.get(); }
  /// Any thread.
  void wake() const {
    const std::uint64_t one = 1;
    (void)!::write(fd_.get(), &one, sizeof one);
  }
  void drain() const {
    std::uint64_t count = 0;
    (void)!::read(fd_.get(), &count, sizeof count);
  }

 private:
  explicit WakeFd(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace reeve::core::virtio
