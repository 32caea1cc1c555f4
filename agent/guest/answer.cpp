#include "agent/guest/answer.h"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

namespace reeve::agent {
namespace {

using nlohmann::json;

Error not_understood(const std::string& what) {
  return Error{Code::DataLoss, "GUEST_AGENT_ANSWER", "the guest agent's answer " + what};
}

std::string text_at(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return {};
  return tame(found->get_ref<const std::string&>());
}

/// The value of "return".
Result<json> returned(std::string_view line) {
  if (line.size() > kMaxAnswer)
    return not_understood("has " + std::to_string(line.size()) + " bytes, over " +
                          std::to_string(kMaxAnswer));
  auto answer = json::parse(line, nullptr, false);
  if (!answer.is_object()) return not_understood("is no JSON object");
  if (const auto error = answer.find("error"); error != answer.end()) {
    if (!error->is_object()) return not_understood("has an error that is no object");
    return Error{
        Code::FailedPrecondition, "GUEST_AGENT_REFUSED",
        "the guest agent says: " + text_at(*error, "desc") + " (" + text_at(*error, "class") + ")"};
  }
  const auto value = answer.find("return");
  if (value == answer.end()) return not_understood("has neither return nor error");
  return std::move(*value);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

GuestNicFacts nic_of(const json& entry) {
  GuestNicFacts nic{.name = text_at(entry, "name"),
                    .mac = lower(text_at(entry, "hardware-address"))};
  const auto list = entry.find("ip-addresses");
  if (list == entry.end() || !list->is_array()) return nic;
  for (const auto& item : *list) {
    if (nic.addresses.size() == kMaxAddresses) break;
    if (!item.is_object()) continue;
    auto address = text_at(item, "ip-address");
    if (looks_like_address(address) && !is_loopback(address))
      nic.addresses.push_back(std::move(address));
  }
  std::stable_partition(nic.addresses.begin(), nic.addresses.end(),
                        [](const std::string& a) { return !is_link_local(a); });
  return nic;
}

}  // namespace

bool answers(std::string_view line, std::int64_t id) {
  if (line.size() > kMaxAnswer) return true;  // refused where it is read
  const auto answer = json::parse(line, nullptr, false);
  if (!answer.is_object()) return false;
  const auto found = answer.find("id");
  if (found == answer.end()) return true;
  return found->is_number_integer() && found->get<std::int64_t>() == id;
}

Status parse_done(std::string_view line) {
  TRY(returned(line));
  return {};
}

Result<std::int64_t> parse_number(std::string_view line) {
  const auto value = TRY(returned(line));
  if (!value.is_number_integer()) return not_understood("is no whole number");
  return value.get<std::int64_t>();
}

Result<std::string> parse_version(std::string_view line) {
  const auto value = TRY(returned(line));
  if (!value.is_object()) return not_understood("tells no version");
  return text_at(value, "version");
}

Result<std::vector<GuestNicFacts>> parse_nics(std::string_view line) {
  const auto value = TRY(returned(line));
  if (!value.is_array()) return not_understood("is no list of network cards");
  std::vector<GuestNicFacts> nics;
  for (const auto& entry : value) {
    if (nics.size() == kMaxNics) break;
    if (!entry.is_object()) return not_understood("lists a network card that is no object");
    auto nic = nic_of(entry);
    if (!nic.mac.empty() && nic.mac != "00:00:00:00:00:00") nics.push_back(std::move(nic));
  }
  return nics;
}

Result<GuestFacts> parse_os(std::string_view line) {
  const auto value = TRY(returned(line));
  if (!value.is_object()) return not_understood("tells nothing about the system");
  return GuestFacts{.os_id = text_at(value, "id"),
                    .os_name = text_at(value, "pretty-name"),
                    .os_version = text_at(value, "version-id"),
                    .kernel_release = text_at(value, "kernel-release"),
                    .machine = text_at(value, "machine")};
}

Result<std::string> parse_host_name(std::string_view line) {
  const auto value = TRY(returned(line));
  if (!value.is_object()) return not_understood("tells no host name");
  return text_at(value, "host-name");
}

}  // namespace reeve::agent
