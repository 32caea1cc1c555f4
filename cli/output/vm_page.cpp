#include "cli/output/vm_page.h"

#include <ctime>

#include <fmt/format.h>

#include "base/text.h"
#include "cli/output/format.h"
#include "cli/output/resources.h"

namespace reeve::cli {
namespace {

const v1::GuestNic* card_with(const v1::VirtualMachine& vm, const std::string& mac) {
  for (const auto& card : vm.status().guest().nics())
    if (card.mac() == mac) return &card;
  return nullptr;
}

std::string addresses_of(const v1::GuestNic& card) {
  return printable(
      join(std::vector<std::string>(card.addresses().begin(), card.addresses().end()), ", "));
}

std::string limits_of(const v1::ResourceLimits& limits) {
  const auto or_default = [](std::int64_t value, const std::string& text) {
    return value == 0 ? std::string("default") : text;
  };
  return fmt::format(
      "CPU weight {}, CPU limit {}, memory limit {}",
      or_default(limits.cpu_weight(), std::to_string(limits.cpu_weight())),
      or_default(limits.cpu_limit_percent(), std::to_string(limits.cpu_limit_percent()) + "%"),
      or_default(limits.memory_limit_mib(), human_bytes(limits.memory_limit_mib() << 20)));
}

std::string guest_lines(const v1::VirtualMachine& vm) {
  const auto& guest = vm.status().guest();
  std::string out;
  const auto line = [&out](const char* title, const std::string& text) {
    if (!text.empty()) out += fmt::format("{:<12} {}\n", title, printable(text));
  };
  line("guest name:", guest.host_name());
  line("guest OS:", guest.os_name().empty() ? guest.os_id() : guest.os_name());
  line("kernel:", guest.kernel());
  for (const auto& card : guest.nics())
    out += fmt::format("in guest:    {}  {}  {}\n", printable(card.name()), printable(card.mac()),
                       addresses_of(card));
  const auto answered = guest.observe_time().seconds();
  line("guest said:", answered == 0 ? "" : human_age(answered, std::time(nullptr)) + " ago");
  return out;
}

}  // namespace

std::string first_address(const v1::VirtualMachine& vm) {
  for (const auto& nic : vm.spec().nics())
    if (const auto* card = card_with(vm, nic.mac()); card != nullptr && card->addresses_size() > 0)
      return card->addresses(0);
  return vm.status().addresses().empty() ? "" : vm.status().addresses(0);
}

std::string vm_page(const v1::VirtualMachine& vm) {
  std::string out = render_table(make_table(std::vector{vm}, vm_columns(), Columns::Usual)) + "\n";
  out += "uid:         " + vm.uid() + "\n";
  if (!vm.state_reason().empty()) out += "because:     " + printable(vm.state_reason()) + "\n";
  out += "limits:      " + limits_of(vm.spec().limits()) + "\n";
  for (const auto& disk : vm.spec().disks())
    out +=
        fmt::format("disk {}:  {}  {}\n", disk.id(), human_bytes(disk.size_bytes()), disk.image());
  for (const auto& nic : vm.spec().nics()) {
    const auto* card = card_with(vm, nic.mac());
    out += fmt::format("nic {}:    {}  {}  {}\n", nic.id(), nic.mac(),
                       nic.bridge().empty() ? "user network" : nic.bridge(),
                       card == nullptr ? "" : addresses_of(*card));
  }
  if (vm.status().has_guest()) out += guest_lines(vm);
  for (const auto& pending : vm.status().pending_restart()) out += "when stopped and started:  " + pending + "\n";
  if (!vm.active_job().empty()) out += "active job:  " + vm.active_job() + "\n";
  out += "actions:\n";
  for (const auto& action : vm.allowed_actions())
    out += fmt::format("  {:<14} {}\n", action.verb(),
                       action.allowed() ? "yes" : "no: " + action.description());
  return out;
}

}  // namespace reeve::cli
