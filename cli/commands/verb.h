// cli/commands/verb.h - a word of the command line, its options and what it does. CLI11 stays in
// verb.cpp: its header and its templates cost every file that has options four seconds of
// compiling.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/session.h"

namespace CLI {  // NOLINT(readability-identifier-naming): the name CLI11 has
class App;
class Option;
}  // namespace CLI

namespace reeve::cli {

/// An option or a positional argument; a handle, valid as long as the command line.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(option) {}

  const Option& required() const;
  const Option& between(double low, double high) const;
  const Option& not_empty() const;
  const Option& one_of(const std::vector<std::string>& values) const;

 private:
  CLI::Option& option_;
};

/// A handle, valid as long as the command line. Variables given to it must live as long.
class Verb {
 public:
  explicit Verb(CLI::App& app) : app_(app) {}

  /// A verb below this one.
  Verb add(const std::string& name, const std::string& help) const;
  /// A noun below this one, which needs one of its verbs.
  Verb add_noun(const std::string& name, const std::string& help) const;
  const Verb& alias(const std::string& name) const;

  /// `names` as in "-f,--filter", or without dashes for a positional argument. T: std::string, int,
  /// std::int64_t, std::size_t, optional of std::string, int or double, and, for positional
  /// arguments, a vector of std::string, which takes all that follow.
  template <class T>
  Option option(const std::string& names, T& value, const std::string& help) const;
  /// An option that may be given several times, with one value each.
  Option repeated(const std::string& names, std::vector<std::string>& values,
                  const std::string& help) const;
  Option flag(const std::string& names, bool& value, const std::string& help) const;
  bool was_given(const std::string& name) const;

  /// What the session's run does when the command line asks for this verb.
  void does(Session& session, std::function<Status()> action) const;
  /// The same for a function of what was typed.
  template <class Arguments>
  void does(Session& session, Status (*function)(Session&, const Arguments&),
            std::shared_ptr<Arguments> arguments) const {
    does(session, [&session, function, arguments = std::move(arguments)] {
      return function(session, *arguments);
    });
  }

 private:
  CLI::App& app_;
};

}  // namespace reeve::cli
