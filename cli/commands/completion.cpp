// cli/commands/completion.cpp - shell completion: scripts for bash, zsh and fish that ask `reeve
// __complete`, which walks the command tree and says what may come next, or that a file may.
#include <map>
#include <set>

#include <CLI/CLI.hpp>

#include "cli/commands/commands.h"
#include "cli/commands/completion_values.h"
#include "cli/commands/words.h"

namespace reeve::cli {
namespace {

/// Where a file is meant the shell completes it in its own way.
const std::map<std::string, std::string, std::less<>>& scripts() {
  static const std::map<std::string, std::string, std::less<>> all{
      {"bash", R"sh(_reeve() {
  local IFS=$'\n'
  COMPREPLY=($(reeve __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  if [[ ${COMPREPLY[0]-} == :files ]]; then
    COMPREPLY=()
    compopt -o default
  fi
}
complete -F _reeve reeve
)sh"},
      {"zsh", R"sh(#compdef reeve
_reeve() {
  local -a words_found
  words_found=(${(f)"$(reeve __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if [[ ${words_found[1]-} == :files ]]; then
    compset -P 1 '--*='
    _files
    return
  fi
  (( $#words_found )) && compadd -a words_found
}
compdef _reeve reeve
)sh"},
      {"fish", R"sh(function __reeve_complete
  set -l current (commandline -ct)
  set -l found (reeve __complete -- (commandline -opc)[2..-1] "$current" 2>/dev/null)
  if test "$found[1]" = :files
    set -l option (string match -r -- '^--[^=]*=' $current)
    __fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current") | string replace -r -- '^' "$option"
  else
    printf '%s\n' $found
  end
end
complete -c reeve -f -a '(__reeve_complete)'
)sh"}};
  return all;
}

void add_options(const CLI::App* level, std::set<std::string>& out) {
  for (; level != nullptr; level = level->get_parent())
    for (const auto* option : level->get_options()) {
      for (const auto& name : option->get_lnames()) out.insert("--" + name);
      for (const auto& name : option->get_snames()) out.insert("-" + name);
    }
}

/// The positional argument that the next word is; null when the command takes no more.
const CLI::Option* next_positional(const Walk& at) {
  std::size_t before = 0;
  for (const auto* option : at.level->get_options()) {
    if (!option->get_positional()) continue;
    before += static_cast<std::size_t>(std::max(1, option->get_items_expected_max()));
    if (at.positionals.size() < before) return option;
  }
  return nullptr;
}

/// bash makes words of their own of '=' and of what is before and behind it.
std::vector<std::string> joined_at_equals(const std::vector<std::string>& words) {
  std::vector<std::string> joined;
  bool open = false;
  for (const auto& word : words) {
    const bool behind =
        std::exchange(open, word == "=" && !joined.empty() && joined.back().starts_with("--") &&
                                joined.back().find('=') == std::string::npos);
    if (open || behind)
      joined.back() += word;
    else
      joined.push_back(word);
  }
  return joined;
}

std::vector<std::string> complete(CLI::App& app, Session& session,
                                  const std::vector<std::string>& typed) {
  auto words = joined_at_equals(typed);
  std::string current = words.empty() ? "" : words.back();
  if (!words.empty()) words.pop_back();
  const bool apart = !typed.empty() && typed.back() != current;  // only its value is replaced
  Walk at = walk(app, words);
  if (at.stray) return {};
  const char* context = std::getenv("REEVE_CONTEXT");
  session.context_name = at.values.contains("--context") ? at.values["--context"]
                         : context != nullptr            ? context
                                                         : "";
  const auto values_of = [&](const CLI::Option* option) {
    return values_for(session, {.command = path_of(*at.level),
                                .option = long_name(*option),
                                .job = at.positionals.empty() ? "" : at.positionals.front(),
                                .current = current});
  };
  std::string prefix;
  std::vector<std::string> found;
  if (at.pending != nullptr) {
    found = values_of(at.pending);
  } else if (!at.only_positionals && current.starts_with("-")) {
    const auto equals = current.find('=');
    if (equals == std::string::npos) {
      std::set<std::string> names;
      add_options(at.level, names);
      found.assign(names.begin(), names.end());
    } else if (const auto* option = find_option(at.level, current.substr(0, equals));
               option != nullptr && takes_value(*option)) {
      if (!apart) prefix = current.substr(0, equals + 1);
      current.erase(0, equals + 1);
      found = values_of(option);
    }
  } else if (const auto commands = at.level->get_subcommands({}); !commands.empty()) {
    for (const auto* command : commands) found.push_back(command->get_name());
  } else if (const auto* option = next_positional(at)) {
    found = values_of(option);
  }
  if (found == std::vector<std::string>{kFilesHere}) return found;
  std::erase_if(found, [&](const std::string& word) { return !word.starts_with(current); });
  for (auto& word : found) word.insert(0, prefix);
  return found;
}

}  // namespace

void print_completions(CLI::App& app, Session& session, const std::vector<std::string>& words) {
  std::set<std::string> printed;
  for (const auto& word : complete(app, session, words))
    if (printed.insert(word).second) print(printable(word) + "\n");
}

void add_completion(const Verb& app, Session& session) {
  auto shell = std::make_shared<std::string>();
  const auto completion =
      app.add("completion", "Print a completion script: source <(reeve completion bash)");
  completion.option("shell", *shell, "bash, zsh or fish")
      .required()
      .one_of({"bash", "zsh", "fish"});
  completion.does(session, [shell]() -> Status {
    print(scripts().at(*shell));
    return {};
  });
}

}  // namespace reeve::cli
