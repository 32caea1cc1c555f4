// tests/system/dialogue.h - a program that a test talks with while it runs, over pipes or on a
// terminal.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/subprocess.h"

namespace reeve::test {

class Dialogue {
 public:
  /// Pipes: stdout is heard, stderr is not. SmallPipe: the same, and the program waits in the
  /// middle of an output of more than 4 KiB until it is heard. Terminal: stdin, stdout and stderr
  /// are one.
  enum class On { Pipes, SmallPipe, Terminal };

  Dialogue(const std::vector<std::string>& argv, On on);
  ~Dialogue();  ///< kills it if it still runs
  Dialogue(const Dialogue&) = delete;
  Dialogue& operator=(const Dialogue&) = delete;

  void type(std::string_view text);
  /// Reads until `text` comes after what an earlier call found; false when it does not in time, or
  /// the program has closed its output.
  bool hears(std::string_view text, std::chrono::seconds limit = std::chrono::seconds(60));
  /// True when there is output, which stays where it is.
  bool speaks(std::chrono::seconds limit = std::chrono::seconds(60)) const;
  const std::string& heard() const { return heard_; }
  /// Whether the terminal gives out lines (true) or characters as they are typed.
  bool is_line_mode() const;
  void signal(int number) const { process_->signal(number); }
  /// The exit code; -1 when it does not end in time.
  int wait(std::chrono::seconds limit = std::chrono::seconds(30));

 private:
  Fd input_{};   ///< we write
  Fd output_{};  ///< we read; for a terminal the same as input_
  std::string heard_{};
  std::size_t found_ = 0;  ///< end of what hears() found last
  std::optional<Process> process_{};
  bool ended_ = false;
};

}  // namespace reeve::test
