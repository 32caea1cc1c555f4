// cli/session.h - one run of the command: its global options and the connection it may need.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cli/client.h"
#include "cli/output/format.h"

namespace reeve::cli {

/// How a command that changes something behaves.
struct ChangeOptions {
  bool async = false;        ///< print the job's name and leave
  bool dry_run = false;      ///< show the plan, change nothing
  int wait_seconds = 0;      ///< 0 waits for ever
  std::string request_id{};  ///< made when empty
};

class Session {
 public:
  std::string context_name{};
  std::string format_text = "table";
  bool debug = false;
  ChangeOptions change{};
  bool printed_a_job = false;  ///< rows and documents that follow are parted from it

  /// Connects on first use. Errors of contexts.h.
  Result<Client*> client();
  Result<Format> format() const { return parse_format(format_text); }
  /// The request id to send: the given one or a new UUID.
  std::string request_id();

  /// What the parsed command line asks for; run once parsing has succeeded.
  std::function<Status()> action{};

 private:
  std::unique_ptr<Client> client_;
};

/// Writes to stdout.
/// To stdout. Ends the program when it cannot be written.
void print(std::string_view text);
/// What was printed is with its reader, or the program ends.
void flush_output();
/// Writes a line to stderr.
void note(std::string_view text);

}  // namespace reeve::cli
