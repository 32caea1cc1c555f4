#include "agent/link/dir_outbox.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/log.h"
#include "base/text.h"

namespace reeve::agent {
namespace {

constexpr std::string_view kSuffix = ".pb";
constexpr std::size_t kMaxResult = 4u << 20;

std::string name_of(std::uint64_t number) {
  constexpr std::size_t kDigits = 20;
  const std::string digits = std::to_string(number);
  return std::string(kDigits - digits.size(), '0') + digits + std::string(kSuffix);
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return number;
}

}  // namespace

Result<std::unique_ptr<DirOutbox>> DirOutbox::open(const std::string& data) {
  const Folder root = TRY(Folder::open(data));
  Folder folder = TRY(root.make_folder("outbox", 0700));
  TRY(root.sync());
  return std::unique_ptr<DirOutbox>(new DirOutbox(std::move(folder)));
}

Result<std::vector<std::pair<std::uint64_t, v1::StepResult>>> DirOutbox::load() {
  std::vector<std::pair<std::uint64_t, v1::StepResult>> results;
  for (const auto& name : TRY(folder_.list())) {
    if (name.ends_with(".new")) {  // was being written when the agent died
      TRY(folder_.remove_file(name));
      continue;
    }
    if (!name.ends_with(kSuffix)) continue;
    const auto number = number_in(std::string_view(name).substr(0, name.size() - kSuffix.size()));
    if (!number) continue;
    next_ = std::max(next_.load(), *number + 1);
    v1::StepResult result;
    const auto content = folder_.read(name, kMaxResult);
    if (!content.ok() || !result.ParseFromString(content.value()) || result.key().empty()) {
      log::error("a result in the outbox cannot be read and is set aside", {{"file", name}});
      TRY(folder_.move_to(name, folder_, name + ".bad"));
      continue;
    }
    results.emplace_back(*number, std::move(result));
  }
  return results;
}

Result<std::uint64_t> DirOutbox::put(const v1::StepResult& result) {
  const std::uint64_t number = next_++;
  TRY(folder_.write_durably(name_of(number), result.SerializeAsString()));
  return number;
}

Status DirOutbox::remove(std::uint64_t number) {
  TRY(folder_.remove_file(name_of(number)));
  return folder_.sync();
}

Result<std::uint64_t> DirOutbox::epoch() {
  if (!folder_.has("epoch")) return std::uint64_t{0};
  const std::string text = TRY(folder_.read("epoch"));
  const auto number = number_in(trim(text));
  if (!number) return Error{Code::DataLoss, "STORE_DAMAGED", "the file 'outbox/epoch' is damaged"};
  return *number;
}

Status DirOutbox::set_epoch(std::uint64_t epoch) {
  return folder_.write_durably("epoch", std::to_string(epoch) + "\n");
}

}  // namespace reeve::agent
