// base/subprocess.h - runs another program: bounded output, a deadline, no shell.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "base/fd.h"
#include "base/status.h"

namespace reeve {

struct Command {
  std::vector<std::string> argv{};  ///< argv[0] is looked up in PATH
  std::string input{};              ///< written to its stdin, then closed
  std::chrono::milliseconds timeout{std::chrono::seconds(30)};
  std::size_t output_limit = 1u << 20;   ///< per stream; the rest is read and dropped
  std::uint64_t memory_limit_bytes = 0;  ///< RLIMIT_AS; 0 = no limit
  std::uint64_t cpu_limit_seconds = 0;   ///< RLIMIT_CPU; 0 = no limit
};

struct Finished {
  int exit_code = 0;  ///< 128 + signal when it was killed
  std::string output{};
  std::string errors{};
};

/// Runs to the end and waits: blocks, so never on a loop. A non-zero exit is not an error here.
/// NotFound/PROGRAM_NOT_FOUND, DeadlineExceeded/PROGRAM_TIMEOUT (the program is killed).
Result<Finished> run(const Command& command);
/// The same, with a non-zero exit as Internal/PROGRAM_FAILED carrying the end of its stderr.
Result<std::string> run_checked(const Command& command);

/// Where a process that outlives the call has its ends; -1 means /dev/null.
struct Streams {
  int input = -1;
  int output = -1;
  int errors = -1;
};

/// A child process. Destroying it neither kills nor waits: processes such as QEMU outlive us by
/// design.
class Process {
 public:
  enum class Session : std::uint8_t {
    Ours,
    Own
  };  ///< Own: setsid(2), so our terminal's signals miss it

  /// NotFound/PROGRAM_NOT_FOUND. `keep` are (our fd, number in the child) pairs to pass on.
  static Result<Process> spawn(const std::vector<std::string>& argv, Streams streams,
                               Session session = Session::Ours,
                               const std::vector<std::pair<int, int>>& keep = {});
  pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// Exit code if it has ended within `timeout`; DeadlineExceeded/PROGRAM_RUNNING otherwise.
  Result<int> wait(std::chrono::milliseconds timeout);

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
  bool reaped_ = false;
  int exit_code_ = 0;
};

/// Start time of a process in clock ticks since boot (/proc/PID/stat, field 22): with the pid it
/// names one process for ever. NotFound/NO_PROCESS.
Result<std::uint64_t> process_start_ticks(pid_t pid);
/// NotFound/NO_PROCESS.
Result<pid_t> process_parent(pid_t pid);

}  // namespace reeve
