#include "cli/commands/parse.h"

#include <cstdio>
#include <iostream>
#include <limits>

#include <unistd.h>

#include "base/file.h"

namespace reeve::cli {
namespace {

Error usage(std::string message) {
  return {Code::InvalidArgument, "USAGE", std::move(message)};
}

}  // namespace

Status parse_labels(const std::vector<std::string>& texts,
                    google::protobuf::Map<std::string, std::string>& labels) {
  for (const auto& text : texts) {
    const auto at = text.find('=');
    if (at == 0 || at == std::string::npos) return usage("label '" + text + "' is not KEY=VALUE");
    labels[text.substr(0, at)] = text.substr(at + 1);
  }
  return {};
}

Result<std::int64_t> parse_size_bytes(const std::string& text, char unit) {
  const Error bad = usage("'" + text + "' is not a size such as 512M, 2G or 1T");
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  if (digits == 0 || digits > 15) return bad;
  const std::int64_t number = std::stoll(text.substr(0, digits));
  std::string suffix = text.substr(digits);
  for (char& c : suffix) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (suffix.empty()) suffix = std::string(1, unit);
  if (suffix.size() > 1 && (suffix.substr(1) == "B" || suffix.substr(1) == "IB")) suffix.resize(1);
  const auto power = std::string("BKMGT").find(suffix);
  if (suffix.size() != 1 || power == std::string::npos) return bad;
  const int shift = static_cast<int>(power) * 10;
  if (number > std::numeric_limits<std::int64_t>::max() >> shift) return bad;
  return number << shift;
}

Result<std::string> read_input(const std::string& path, std::size_t limit) {
  if (path != "-") return read_file(path, limit);
  std::string text(limit + 1, '\0');
  std::cin.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::cin.gcount()));
  if (text.size() > limit)
    return Error{Code::ResourceExhausted, "FILE_TOO_LARGE",
                 "standard input is larger than " + std::to_string(limit) + " bytes"};
  return text;
}

Status confirm(const std::string& question, bool yes) {
  if (yes) return {};
  if (::isatty(STDIN_FILENO) != 1)
    return Error(Code::InvalidArgument, "USAGE", question + " needs a confirmation")
        .remedy("add --yes");
  std::fprintf(stderr, "%s [y/N] ", question.c_str());
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "Y" || answer == "yes") return {};
  return Error{Code::Cancelled, "NOT_CONFIRMED", "not confirmed; nothing was changed"};
}

}  // namespace reeve::cli
