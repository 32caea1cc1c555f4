// agent/driver/core/vmm_process.h - one reeve-vmm process: started, found again, asked, ended.
//
// It outlives the agent. A pid file with the start time says which process it is; a pidfd names it
// for as long as the object lives, whoever started it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "base/fd.h"
#include "base/status.h"
#include "hypervisor_core/control/client.h"
#include "reeve/core/v1/control.pb.h"

namespace reeve::agent::core_driver {

struct VmmLaunch {
  std::string program{};
  std::string folder{};                ///< the run directory of the process, with machine.pb in it
  std::vector<std::string> cgroups{};  ///< folders of control groups it joins before anything else
  bool paused = false;                 ///< a restored machine waits for `resume`
  std::uint32_t user = 0;              ///< and group that the process becomes where it is jailed
  std::vector<std::pair<int, int>> keep_fds{};  ///< (ours, number there)
};

class VmmProcess {
 public:
  /// Starts it and returns when it answers. FailedPrecondition/GUEST_START_FAILED with its own
  /// words; DeadlineExceeded/HYPERVISOR_BUSY: it may still come.
  static Result<VmmProcess> start(const VmmLaunch& launch);
  /// The process that has `folder`, or nothing.
  static std::optional<VmmProcess> find(const std::string& folder);

  /// Waits until no process has `folder`, be it one that does not answer yet or is not quite gone.
  /// DeadlineExceeded/HYPERVISOR_BUSY.
  static Status wait_until_free(const std::string& folder);

  pid_t pid() const { return pid_; }
  /// Readable once the process has ended.
  int pidfd() const { return pidfd_.get(); }
  /// After its end: waits for what stands behind it and takes the exit code.
  void reap() const;
  bool is_alive() const;
  /// Errors as in driver.h; Internal/VMM_FAULTY. It does not block beyond `timeout`, whatever the
  /// process does.
  Result<core::v1::ControlReply> call(core::v1::ControlRequest request,
                                      std::chrono::milliseconds timeout) const;
  /// Ends it, at the latest with SIGKILL. DeadlineExceeded/HYPERVISOR_BUSY when even that does not
  /// help.
  Status end() const;
  /// Waits; true when it has ended, and its warden, too.
  bool wait(std::chrono::milliseconds timeout) const;
  /// A connection that is told of changes of state, the present one first. Does not wait for it.
  Result<core::control::ControlClient> watch() const;

 private:
  VmmProcess(pid_t pid, Fd pidfd, std::string folder)
      : pid_(pid), pidfd_(std::move(pidfd)), folder_(std::move(folder)) {}

  pid_t pid_;
  Fd pidfd_;
  Fd warden_{};  ///< outlives the process a moment, and reports for it
  std::string folder_;
};

}  // namespace reeve::agent::core_driver
