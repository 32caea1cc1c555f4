#include "cli/output/vm_page.h"

#include <ctime>

#include <fmt/format.h>

#include "base/text.h"

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

std::string boot_of(const v1::VmSpec& spec, const NameOf& name_of) {
  if (!spec.has_boot()) return "its BIOS, from the first disk";
  std::string text = "kernel " + name_of(spec.boot().kernel());
  if (!spec.boot().initrd().empty()) text += ", initrd " + name_of(spec.boot().initrd());
  if (!spec.boot().command_line().empty()) text += ", command line: " + spec.boot().command_line();
  return text;
}

/// Its parts with their sizes, no content; who may not edit machines is told only that it is there.
std::string seed_of(const v1::VmSpec& spec) {
  if (!spec.has_cloud_init()) return {};
  std::vector<std::string> parts;
  const auto part = [&parts](const char* name, const std::string& text) {
    if (!text.empty())
      parts.push_back(name + (" " + human_bytes(static_cast<std::int64_t>(text.size()))));
  };
  part("user-data", spec.cloud_init().user_data());
  part("meta-data", spec.cloud_init().meta_data());
  part("network-config", spec.cloud_init().network_config());
  return parts.empty() ? "yes" : join(parts, ", ");
}

std::string guest_lines(const v1::VirtualMachine& vm) {
  const auto& guest = vm.status().guest();
  std::string out;
  const auto line = [&out](const char* title, const std::string& text) {
    out += page_line(title, text);
  };
  line("guest name:", guest.host_name());
  line("guest OS:", guest.os_name().empty() ? guest.os_id() : guest.os_name());
  line("kernel:", guest.kernel());
  for (const auto& card : guest.nics())
    line("in guest:", card.name() + "  " + card.mac() + "  " + addresses_of(card));
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

std::string vm_page(const v1::VirtualMachine& vm, const NameOf& name_of) {
  std::string out =
      render_table(make_table(std::vector{vm}, vm_columns(name_of), Columns::Usual)) + "\n";
  const auto line = [&out](const std::string& title, const std::string& text) {
    out += page_line(title, text);
  };
  line("uid:", vm.uid());
  line("because:", vm.state_reason());
  line("description:", vm.description());
  line("labels:", join_map(vm.labels()));
  if (vm.origin() == v1::VirtualMachine::ORIGIN_DISCOVERED)
    line("origin:", "found on its hypervisor, made elsewhere");
  line("hypervisor:", vm.spec().hypervisor());
  line("boot:", boot_of(vm.spec(), name_of));
  line("cloud-init:", seed_of(vm.spec()));
  line("agent:", vm.spec().guest_agent() ? "has a qemu-guest-agent channel" : "");
  line("limits:", limits_of(vm.spec().limits()));
  for (const auto& disk : vm.spec().disks())
    line("disk " + disk.id() + ":", human_bytes(disk.size_bytes()) +
                                        (disk.image().empty() ? "" : "  " + name_of(disk.image())) +
                                        (disk.read_only() ? "  read-only" : ""));
  for (const auto& nic : vm.spec().nics()) {
    const auto* card = card_with(vm, nic.mac());
    line("nic " + nic.id() + ":", nic.mac() + "  " +
                                      (nic.bridge().empty() ? "user network" : nic.bridge()) +
                                      (card == nullptr ? "" : "  " + addresses_of(*card)));
  }
  if (vm.status().has_guest()) out += guest_lines(vm);
  const auto& pending = vm.status().pending_restart();
  if (!pending.empty())
    line("pending:", join({pending.begin(), pending.end()}, ", ") +
                         ": in effect when it is stopped and started");
  line("active job:", vm.active_job());
  line("created:", time_text(vm.create_time()));
  line("changed:", time_text(vm.update_time()));
  return out + actions_text(vm.allowed_actions());
}

}  // namespace reeve::cli
