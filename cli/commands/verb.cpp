#include "cli/commands/verb.h"

#include <cstdint>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace reeve::cli {

const Option& Option::required() const {
  option_.required();
  return *this;
}

const Option& Option::between(double low, double high) const {
  option_.check([low, high](const std::string& text) {
    double value = 0;
    if (CLI::detail::lexical_cast(text, value) && value >= low && value <= high)
      return std::string();
    return fmt::format("{} is not between {} and {}", text, low, high);
  });
  return *this;
}

const Option& Option::not_empty() const {
  option_.check([](const std::string& text) {
    return text.empty() ? std::string("must not be empty") : std::string();
  });
  return *this;
}

const Option& Option::one_of(const std::vector<std::string>& values) const {
  option_.check(CLI::IsMember(values));
  return *this;
}

Verb Verb::add(const std::string& name, const std::string& help) const {
  return Verb(*app_.add_subcommand(name, help));
}

Verb Verb::add_noun(const std::string& name, const std::string& help) const {
  return Verb(*app_.add_subcommand(name, help)->require_subcommand(1));
}

const Verb& Verb::alias(const std::string& name) const {
  app_.alias(name);
  return *this;
}

template <class T>
Option Verb::option(const std::string& names, T& value, const std::string& help) const {
  return Option(*app_.add_option(names, value, help));
}

template Option Verb::option(const std::string&, std::string&, const std::string&) const;
template Option Verb::option(const std::string&, int&, const std::string&) const;
template Option Verb::option(const std::string&, std::int64_t&, const std::string&) const;
template Option Verb::option(const std::string&, std::size_t&, const std::string&) const;
template Option Verb::option(const std::string&, std::optional<std::string>&,
                             const std::string&) const;
template Option Verb::option(const std::string&, std::optional<int>&, const std::string&) const;
template Option Verb::option(const std::string&, std::optional<double>&, const std::string&) const;
template Option Verb::option(const std::string&, std::vector<std::string>&,
                             const std::string&) const;

Option Verb::repeated(const std::string& names, std::vector<std::string>& values,
                      const std::string& help) const {
  return Option(*app_.add_option(names, values, help)->allow_extra_args(false));
}

Option Verb::flag(const std::string& names, bool& value, const std::string& help) const {
  return Option(*app_.add_flag(names, value, help));
}

bool Verb::was_given(const std::string& name) const {
  return app_.count(name) > 0;
}

void Verb::does(Session& session, std::function<Status()> action) const {
  app_.callback([&session, action = std::move(action)] { session.action = action; });
}

}  // namespace reeve::cli
