// bench/console_process.h - a virtual machine monitor with its guest's serial port on stdin and
// stdout, timed from the moment it was asked for. Ours and QEMU alike.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/subprocess.h"

namespace reeve::bench {

class ConsoleProcess {
 public:
  /// Ends the program when it cannot be started.
  explicit ConsoleProcess(const std::vector<std::string>& argv);
  ~ConsoleProcess();
  ConsoleProcess(const ConsoleProcess&) = delete;
  ConsoleProcess& operator=(const ConsoleProcess&) = delete;

  /// Milliseconds from the start to this text; ends the program after `limit` without it.
  double wait_for(const std::string& text, std::chrono::seconds limit = std::chrono::seconds(200));
  /// What the quick guest's shell says to a command.
  std::string run(const std::string& command);
  void type(const std::string& text);
  pid_t pid() const { return process_->pid(); }
  void kill();

 private:
  std::chrono::steady_clock::time_point begin_;
  std::optional<Process> process_;
  Fd input_, output_, errors_;
  std::string unread_;
};

/// A process and its children: proportional set size without the guest's memory, which lies in a
/// memfd, in KiB.
std::uint64_t overhead_kib(pid_t pid);
/// Their CPU time in seconds.
double cpu_seconds(pid_t pid);
double median(std::vector<double> values);
[[noreturn]] void give_up(const std::string& what);

}  // namespace reeve::bench
