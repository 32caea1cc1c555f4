// cli/commands/words.h - how far a command line has come: for completion, whose last word is not
// finished, and for saying what is wrong with one that cannot be parsed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming): the name CLI11 has
class App;
class Option;
}  // namespace CLI

namespace reeve::cli {

struct Walk {
  CLI::App* level = nullptr;             ///< the command the words have reached
  const CLI::Option* pending = nullptr;  ///< takes the word that would come next
  bool only_positionals = false;         ///< after "--"
  std::vector<std::string> positionals{};
  std::map<std::string, std::string, std::less<>> values{};  ///< by long name, e.g. "--output"
  std::optional<std::string> stray{};  ///< the first word that is no command where one is needed
};

/// Goes along `words`; the values of options are never taken for commands.
Walk walk(CLI::App& app, const std::vector<std::string>& words);

/// The option of this name ("--image", "-o") of a command or of those above it; null when there is
/// none.
const CLI::Option* find_option(const CLI::App* level, const std::string& name);
bool takes_value(const CLI::Option& option);
/// "--output" for -o and --output; what a positional argument is called otherwise.
std::string long_name(const CLI::Option& option);
/// "vm create": without the program's own name.
std::string path_of(const CLI::App& level);

/// The one of `known` that `word` was probably meant to be; empty when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& known);
/// What is wrong with a command that is missing or unknown; empty when that is not it.
std::string wrong_command(const Walk& walk);

}  // namespace reeve::cli
