// cli/commands/parse.h - what several commands read from their arguments and their terminal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <google/protobuf/map.h>

#include "base/status.h"

namespace reeve::cli {

/// `a=b` pairs into a map. InvalidArgument/USAGE.
Status parse_labels(const std::vector<std::string>& texts,
                    google::protobuf::Map<std::string, std::string>& labels);
/// "512M", "2G", "1T", "4096" (MiB when no unit is given and `unit` is 'M'; bytes otherwise).
/// InvalidArgument/USAGE.
Result<std::int64_t> parse_size_bytes(const std::string& text, char unit);
/// Reads a file, or stdin for "-"; at most `limit` bytes.
Result<std::string> read_input(const std::string& path, std::size_t limit);
/// Asks "question [y/N]" on the terminal. InvalidArgument/USAGE when there is none and `yes` is not
/// set.
Status confirm(const std::string& question, bool yes);

}  // namespace reeve::cli
