#include "hypervisor_core/control/said.h"

#include <algorithm>
#include <utility>

namespace reeve::core::control {
namespace {

constexpr std::size_t kMaxReason = 64;

bool is_inside_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

bool is_control(char byte) {
  const auto code = static_cast<unsigned char>(byte);
  return (code < 0x20 && byte != '\n') || code == 0x7f;
}

bool is_reason(const std::string& text) {
  return !text.empty() && text.size() <= kMaxReason &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
         });
}

void shorten(std::string* text, std::size_t most = kMaxText) {
  *text = passable(std::move(*text), most);
}

void shorten_texts(v1::ExitReport& report) {
  shorten(report.mutable_message());
  shorten(report.mutable_registers(), kMaxRegisters);
}

void shorten_texts(v1::MachineStatus& status) {
  if (status.has_exit()) shorten_texts(*status.mutable_exit());
  for (auto* text : {status.mutable_boot_format(), status.mutable_waiting_for(),
                     status.mutable_lost_network(), status.mutable_doing()})
    shorten(text);
  for (auto& measure : *status.mutable_jail()) {
    shorten(measure.mutable_name());
    shorten(measure.mutable_why_not());
  }
  for (auto& disk : *status.mutable_disks()) shorten(disk.mutable_id());
  for (auto& nic : *status.mutable_nics()) shorten(nic.mutable_id());
}

}  // namespace

std::string passable(std::string text, std::size_t most) {
  if (text.size() > most) {
    std::size_t end = most;
    while (end > 0 && is_inside_character(text[end])) --end;
    text.resize(end);
  }
  std::replace_if(text.begin(), text.end(), is_control, ' ');
  return text;
}

void make_passable(v1::ExitReport& report) {
  shorten_texts(report);
}

void make_passable(v1::ControlMessage& message) {
  if (message.has_event()) {
    auto& event = *message.mutable_event();
    if (event.has_state_changed()) shorten_texts(*event.mutable_state_changed());
  } else if (message.has_reply()) {
    auto& reply = *message.mutable_reply();
    if (reply.has_status()) shorten_texts(*reply.mutable_status());
    if (!reply.has_error()) return;
    auto& error = *reply.mutable_error();
    if (!is_reason(error.reason())) error.set_reason("VMM_FAULTY");
    shorten(error.mutable_message());
  }
}

}  // namespace reeve::core::control
