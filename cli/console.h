// cli/console.h - attaches this terminal to a machine's serial console.
#pragma once

#include "cli/session.h"

namespace reeve::cli {

struct ConsoleOptions {
  std::string name{};
  bool read_only = false;
  bool take_over = false;
  bool no_follow = false;
  std::string until{};
  int timeout_seconds = 0;
};

/// Copies both ways until Ctrl-] or the end of input with `until` unset. On a terminal the line
/// discipline is raw meanwhile and restored on every way out. When the server, the host's agent or
/// the way to them is gone it attaches again, where the output ended; what is typed meanwhile is
/// dropped. DeadlineExceeded/WAIT_TIMEOUT when `until` did not come.
Status attach_console(Session& session, const ConsoleOptions& options);

}  // namespace reeve::cli
