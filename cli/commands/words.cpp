#include "cli/commands/words.h"

#include <algorithm>
#include <numeric>

#include <CLI/CLI.hpp>

#include "base/text.h"

namespace reeve::cli {
namespace {

/// How many letters to change, add, drop or swap with the next.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::vector<std::size_t> row(b.size() + 1, i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, std::move(row));
  }
  return last.back();
}

std::vector<std::string> commands_of(const CLI::App& level) {
  std::vector<std::string> names;
  for (const auto* command : level.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

CLI::App* command_named(CLI::App& level, const std::string& word) {
  for (auto* command : level.get_subcommands({}))
    if (command->check_name(word)) return command;
  return nullptr;
}

/// Notes an option's word, and what is behind its '=' or letter.
void take_option(Walk& at, const std::string& word) {
  const auto equals = word.starts_with("--") ? word.find('=') : std::string::npos;
  const std::string name = word.starts_with("--") ? word.substr(0, equals) : word.substr(0, 2);
  const auto* option = find_option(at.level, name);
  if (option == nullptr || !takes_value(*option)) return;
  if (equals != std::string::npos)
    at.values[long_name(*option)] = word.substr(equals + 1);
  else if (name.size() == word.size())
    at.pending = option;
  else
    at.values[long_name(*option)] = word.substr(2);
}

}  // namespace

Walk walk(CLI::App& app, const std::vector<std::string>& words) {
  Walk at;
  at.level = &app;
  for (const auto& word : words) {
    if (at.pending != nullptr) {
      at.values[long_name(*std::exchange(at.pending, nullptr))] = word;
    } else if (at.only_positionals) {
      at.positionals.push_back(word);
    } else if (word == "--") {
      at.only_positionals = true;
    } else if (word.size() > 1 && word.front() == '-') {
      take_option(at, word);
    } else if (at.level->get_subcommands({}).empty()) {
      at.positionals.push_back(word);
    } else if (auto* command = command_named(*at.level, word); command && !at.stray) {
      at.level = command;
    } else if (!at.stray) {
      at.stray = word;
    }
  }
  return at;
}

const CLI::Option* find_option(const CLI::App* level, const std::string& name) {
  for (; level != nullptr; level = level->get_parent())
    for (const auto* option : level->get_options())
      if (name.starts_with("-") && option->check_name(name)) return option;
  return nullptr;
}

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

std::string long_name(const CLI::Option& option) {
  return option.get_lnames().empty() ? option.get_name(true) : "--" + option.get_lnames().front();
}

std::string path_of(const CLI::App& level) {
  if (level.get_parent() == nullptr) return {};
  const auto above = path_of(*level.get_parent());
  return above.empty() ? level.get_name() : above + " " + level.get_name();
}

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  // A third of the letters may be wrong; in a short word one.
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : known) {
    const bool begins = word.size() >= 2 && candidate.starts_with(word);
    const auto far = begins ? 1 : distance(word, candidate);
    if (far >= least) continue;
    least = far;
    best = candidate;
  }
  return best;
}

std::string wrong_command(const Walk& walk) {
  const auto names = commands_of(*walk.level);
  if (names.empty()) return {};
  const auto path = path_of(*walk.level);
  const auto where = path.empty() ? std::string("reeve") : "reeve " + path;
  if (!walk.stray) return "'" + where + "' needs one of: " + join(names, ", ");
  const auto meant = nearest(*walk.stray, names);
  return "'" + where + "' has no command '" + *walk.stray + "'; " +
         (meant.empty() ? "there are " + join(names, ", ") : "did you mean '" + meant + "'?");
}

}  // namespace reeve::cli
