#include <algorithm>
#include <charconv>
#include <filesystem>

#include "agent/host/fingerprint.h"
#include "base/file.h"
#include "base/text.h"

namespace reeve::agent {

std::string read_text(const std::string& path) {
  constexpr std::size_t kMost = 4u << 20;
  const auto content = read_file(path, kMost);
  return content.ok() ? std::string(trim(content.value())) : std::string{};
}

std::vector<std::string> list_names(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::int64_t to_number(std::string_view text) {
  std::int64_t number = 0;
  text = trim(text);
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace reeve::agent
