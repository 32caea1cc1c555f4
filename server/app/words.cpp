#include "server/app/words.h"

#include <algorithm>
#include <cctype>

#include "base/uuid.h"
#include "server/app/errors.h"

namespace reeve::server {

namespace {

std::string word_of(std::string_view enumerator, std::string_view prefix) {
  std::string word(enumerator.substr(std::min(prefix.size(), enumerator.size())));
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word;
}

std::string enumerator_of(std::string_view word, std::string_view prefix) {
  std::string name(word);
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
  return name.insert(0, prefix);
}

template <class Enum, class Parse>
Enum parse(std::string_view word, std::string_view prefix, Parse parse_name) {
  Enum value{};
  if (!parse_name(enumerator_of(word, prefix), &value)) return Enum{};
  return value;
}

}  // namespace

std::string to_word(v1::VirtualMachine::State s) {
  return word_of(v1::VirtualMachine::State_Name(s), "STATE_");
}
std::string to_word(v1::VirtualMachine::Origin o) {
  return word_of(v1::VirtualMachine::Origin_Name(o), "ORIGIN_");
}
std::string to_word(v1::Host::State s) {
  return word_of(v1::Host::State_Name(s), "STATE_");
}
std::string to_word(v1::Image::State s) {
  return word_of(v1::Image::State_Name(s), "STATE_");
}
std::string to_word(v1::Image::Kind k) {
  return word_of(v1::Image::Kind_Name(k), "KIND_");
}
std::string to_word(v1::DiskFormat f) {
  return word_of(v1::DiskFormat_Name(f), "DISK_FORMAT_");
}
std::string to_word(v1::HypervisorKind k) {
  return word_of(v1::HypervisorKind_Name(k), "HYPERVISOR_KIND_");
}
std::string to_word(v1::Job::State s) {
  return word_of(v1::Job::State_Name(s), "STATE_");
}
std::string to_word(v1::JobStep::State s) {
  return word_of(v1::JobStep::State_Name(s), "STATE_");
}

v1::VirtualMachine::State vm_state_of(std::string_view word) {
  return parse<v1::VirtualMachine::State>(word, "STATE_", v1::VirtualMachine::State_Parse);
}
v1::VirtualMachine::Origin vm_origin_of(std::string_view word) {
  return parse<v1::VirtualMachine::Origin>(word, "ORIGIN_", v1::VirtualMachine::Origin_Parse);
}
v1::Host::State host_state_of(std::string_view word) {
  return parse<v1::Host::State>(word, "STATE_", v1::Host::State_Parse);
}
v1::Image::State image_state_of(std::string_view word) {
  return parse<v1::Image::State>(word, "STATE_", v1::Image::State_Parse);
}
v1::Image::Kind image_kind_of(std::string_view word) {
  return parse<v1::Image::Kind>(word, "KIND_", v1::Image::Kind_Parse);
}
v1::DiskFormat disk_format_of(std::string_view word) {
  return parse<v1::DiskFormat>(word, "DISK_FORMAT_", v1::DiskFormat_Parse);
}
v1::HypervisorKind hypervisor_kind_of(std::string_view word) {
  return parse<v1::HypervisorKind>(word, "HYPERVISOR_KIND_", v1::HypervisorKind_Parse);
}
v1::Job::State job_state_of(std::string_view word) {
  return parse<v1::Job::State>(word, "STATE_", v1::Job::State_Parse);
}
v1::JobStep::State step_state_of(std::string_view word) {
  return parse<v1::JobStep::State>(word, "STATE_", v1::JobStep::State_Parse);
}

Result<std::string> uid_of(std::string_view name, std::string_view collection,
                           std::string_view field) {
  if (name.empty()) return bad_field(field, "is required");
  const auto slash = name.find('/');
  if (slash == std::string_view::npos || name.substr(0, slash) != collection ||
      !is_uuid(name.substr(slash + 1)))
    return bad_field(field, "must be " + std::string(collection) + "/{uid}");
  return std::string(name.substr(slash + 1));
}

}  // namespace reeve::server
