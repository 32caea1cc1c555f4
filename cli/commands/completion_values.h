// cli/commands/completion_values.h - what may be typed where: for options and positional arguments
// of each command, the words known beforehand, live names from the server, or files.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

namespace reeve::cli {

/// What a script is told instead of words where a file is meant: its shell knows files best.
inline constexpr const char* kFilesHere = ":files";

struct Meant {
  std::string command{};  ///< "vm create"
  std::string option{};   ///< "--image", or the name of a positional argument
  std::string job{};      ///< the job named before, for its choices
  std::string current{};  ///< what the word begins with
};

/// The candidates, not all of which begin with `current`; kFilesHere alone for files; nothing for
/// free text, without a server, or when it does not answer in time.
std::vector<std::string> values_for(Session& session, const Meant& meant);

}  // namespace reeve::cli
