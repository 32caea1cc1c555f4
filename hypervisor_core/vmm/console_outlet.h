// hypervisor_core/vmm/console_outlet.h - the console of a machine as files of its run directory.
//
// All output is appended to console.log, which is bounded: at kMaxLogBytes it becomes console.log.0
// (replacing the one before) and a new one is begun. When it cannot be renamed it is emptied, and
// its first line says so. What is typed into a connection to
// console.sock goes to the serial port, as fast as the guest takes it; nothing is sent there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <poll.h>

#include "base/fd.h"
#include "base/status.h"
#include "hypervisor_core/vm/vm.h"

namespace reeve::core::vmm {

class ConsoleOutlet {
 public:
  static constexpr std::uint64_t kMaxLogBytes = 1 << 20;
  static constexpr std::size_t kMaxTypists = 4;

  /// `run_dir` is an open folder; it and `vm` outlive the outlet. Errors of opening the log.
  static Result<std::unique_ptr<ConsoleOutlet>> open(Vm& vm, int run_dir, Fd listener);

  /// Writes what is new to the log. A full disk loses output, never more.
  void write_log();
  /// Adds what is to be waited for to `wait`.
  void add_to(std::vector<pollfd>& wait) const;
  /// Takes connections and input; `ready` is what add_to() added, polled.
  void serve(std::span<const pollfd> ready);
  /// True while the guest has not taken all that was typed: ask again soon.
  bool is_waiting_for_guest() const;

 private:
  struct Typist {
    Fd socket{};
    std::string typed{};
  };
  ConsoleOutlet(Vm& vm, int run_dir, Fd listener)
      : vm_(vm), run_dir_(run_dir), listener_(std::move(listener)) {}
  /// Makes room in the log; false when there is none, and what is to be written is lost.
  bool make_room();
  void begin_new_log();
  void open_log();
  bool take_input(Typist& typist);

  Vm& vm_;
  const int run_dir_;
  Fd listener_;
  Fd log_;
  std::uint64_t log_bytes_ = 0;
  std::uint64_t offset_ = 0;
  std::vector<Typist> typists_;
};

}  // namespace reeve::core::vmm
