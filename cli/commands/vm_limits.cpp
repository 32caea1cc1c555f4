#include "cli/commands/vm_limits.h"

#include <charconv>

#include "cli/commands/parse.h"

namespace reeve::cli {
namespace {

Result<std::int32_t> number(std::string_view text, std::string_view option, char suffix) {
  if (text == "default") return 0;
  std::string_view digits = text;
  if (suffix != 0 && digits.ends_with(suffix)) digits.remove_suffix(1);
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc{} && end == digits.data() + digits.size() && value > 0) return value;
  return Error{Code::InvalidArgument, "USAGE",
               std::string(option) + " '" + std::string(text) +
                   "' is neither a whole number above 0 nor 'default'"};
}

}  // namespace

Result<std::vector<std::string>> fill_limits(const LimitArguments& arguments,
                                             v1::ResourceLimits& limits) {
  std::vector<std::string> paths;
  if (!arguments.cpu_weight.empty()) {
    limits.set_cpu_weight(TRY(number(arguments.cpu_weight, "--cpu-weight", 0)));
    paths.emplace_back("spec.limits.cpu_weight");
  }
  if (!arguments.cpu_limit.empty()) {
    limits.set_cpu_limit_percent(TRY(number(arguments.cpu_limit, "--cpu-limit", '%')));
    paths.emplace_back("spec.limits.cpu_limit_percent");
  }
  if (!arguments.memory_limit.empty()) {
    const bool usual = arguments.memory_limit == "default";
    limits.set_memory_limit_mib(usual ? 0
                                      : TRY(parse_size_bytes(arguments.memory_limit, 'M')) >> 20);
    paths.emplace_back("spec.limits.memory_limit_mib");
  }
  return paths;
}

}  // namespace reeve::cli
