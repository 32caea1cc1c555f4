// hypervisor_core/virtio/worker.h - the threads that serve an activated device.
//
// The transport makes the queues at DRIVER_OK, gives them with their kick descriptors to
// Workers::start(), and gets them back from stop(): that is all that pause, save and reset need.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "hypervisor_core/virtio/device.h"
#include "hypervisor_core/virtio/queue.h"

namespace reeve::core::virtio {

/// An enabled queue and the eventfd its notifications arrive on (KVM_IOEVENTFD or the transport
/// itself).
struct QueueSlot {
  std::unique_ptr<Queue> queue{};
  int kick_fd = -1;  ///< belongs to the transport, non-blocking, outlives the workers
};

struct WorkerOptions {
  std::string name = "virtio";  ///< of the threads, at most 12 characters; they get "-0", "-1", ...
  /// Runs first on every worker thread: seccomp filter, priorities. A failure ends start().
  std::function<Status()> prepare_thread{};
};

class Workers {
 public:
  /// Starts one thread per group of queues (Traits::queues_per_worker) and serves every queue once.
  /// `device` outlives the workers. Errors of eventfd and epoll, or of prepare_thread.
  static Result<std::unique_ptr<Workers>> start(Device& device, std::vector<QueueSlot> slots,
                                                const WorkerOptions& options);
  ~Workers();  ///< stop()
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Quiesces the device, joins the threads and returns the queues, none of them with chains in
  /// flight.
  std::vector<QueueSlot> stop();

 private:
  class Thread;
  Workers() = default;
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace reeve::core::virtio
