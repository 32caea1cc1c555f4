#include "agent/driver/libvirt/domain_edit.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "agent/driver/libvirt/domain_facts.h"
#include "agent/driver/libvirt/limits.h"
#include "base/text.h"

namespace reeve::agent::libvirt {

namespace {

constexpr std::size_t kMostParts = 100'000;

using Owned = std::vector<std::pair<std::string, std::string>>;

std::set<std::string> owned_ids(const Owned& owned, std::string_view kind) {
  std::set<std::string> ids;
  for (const auto& [part_kind, id] : owned)
    if (part_kind == kind) ids.insert(id);
  return ids;
}

template <class IdOf>
pugi::xml_node find_device(pugi::xml_node devices, const char* kind, const std::string& id,
                           IdOf id_of) {
  for (const auto node : devices.children(kind))
    if (id == id_of(node)) return node;
  return {};
}

const char* disk_id(pugi::xml_node disk) {
  return disk.child("serial").text().get();
}
const char* nic_id(pugi::xml_node nic) {
  return nic.child("mac").attribute("address").value();
}
const char* channel_id(pugi::xml_node channel) {
  return channel.child("target").attribute("name").value();
}

std::string free_target(pugi::xml_node devices) {
  std::set<std::string> taken;
  for (const auto disk : devices.children("disk"))
    taken.insert(disk.child("target").attribute("dev").value());
  std::size_t index = 0;
  while (taken.contains(disk_target(index))) ++index;
  return disk_target(index);
}

/// A disk that says the same already keeps every detail others gave it.
bool is_same_disk(pugi::xml_node node, const GuestDisk& disk) {
  const std::string type = disk.format == DiskFormat::Raw ? "raw" : "qcow2";
  const auto backing = node.child("backingStore");
  return node.child("source").attribute("file").value() == disk.path &&
         node.child("driver").attribute("type").value() == type &&
         static_cast<bool>(node.child("readonly")) == disk.read_only &&
         backing.child("source").attribute("file").value() == disk.backing_path;
}

void patch_disks(pugi::xml_node devices, const GuestDefinition& guest, const Owned& owned,
                 const std::string& cache) {
  auto disks = guest.disks;
  if (!guest.seed_path.empty()) disks.push_back(seed_disk(guest));
  auto obsolete = owned_ids(owned, "disk");
  for (const auto& disk : disks) {
    obsolete.erase(disk.id);
    auto node = find_device(devices, "disk", disk.id, disk_id);
    if (!node) {
      add_disk(devices, disk, free_target(devices), cache);
    } else if (!is_same_disk(node, disk)) {
      fill_disk(node, disk, cache);
    }
  }
  for (const auto& id : obsolete) devices.remove_child(find_device(devices, "disk", id, disk_id));
}

void patch_nics(pugi::xml_node devices, const GuestDefinition& guest, const Owned& owned) {
  auto obsolete = owned_ids(owned, "nic");
  for (const auto& nic : guest.nics) {
    obsolete.erase(nic.mac);
    auto node = find_device(devices, "interface", nic.mac, nic_id);
    if (!node) {
      add_nic(devices, nic);
      continue;
    }
    const bool same = std::string_view(node.attribute("type").value()) ==
                          (nic.bridge.empty() ? "user" : "bridge") &&
                      node.child("source").attribute("bridge").value() == nic.bridge;
    if (!same) fill_nic(node, nic);
  }
  for (const auto& mac : obsolete)
    devices.remove_child(find_device(devices, "interface", mac, nic_id));
}

void patch_agent_channel(pugi::xml_node devices, const GuestDefinition& guest, const Owned& owned) {
  const auto node = find_device(devices, "channel", kAgentChannel, channel_id);
  if (guest.guest_agent && !node) add_agent_channel(devices);
  if (!guest.guest_agent && node && owned_ids(owned, "channel").contains(kAgentChannel))
    devices.remove_child(node);
}

/// The run directory moved: our serial port follows, and so does libvirt's <console> shadow of it.
void patch_serial(pugi::xml_node devices, const GuestDefinition& guest, const Owned& owned) {
  const auto ours = owned_ids(owned, "serial");
  for (const char* kind : {"serial", "console"})
    for (auto node : devices.children(kind)) {
      auto path = node.child("source").attribute("path");
      if (!ours.contains(path.value()) || path.value() == serial_socket_path(guest)) continue;
      path.set_value(serial_socket_path(guest).c_str());
      if (auto log = node.child("log")) set_attribute(log, "file", serial_log_path(guest));
    }
}

/// What tells this element from its siblings of the same name.
std::string key_of(pugi::xml_node node) {
  const std::string_view name = node.name();
  std::string key;
  if (name == "disk") key = node.child("target").attribute("dev").value();
  if (name == "interface") key = nic_id(node);
  if (name == "controller")
    key = std::string(node.attribute("type").value()) + node.attribute("index").value();
  if (name == "channel") key = channel_id(node);
  if (name == "timer" || name == "feature" || name == "param") key = node.attribute("name").value();
  return key.empty() ? key : "[" + key + "]";
}

void collect(pugi::xml_node node, const std::string& path, std::vector<std::string>& parts) {
  if (parts.size() >= kMostParts) return;
  parts.push_back(path);
  for (const auto attribute : node.attributes())
    parts.push_back(path + "@" + attribute.name() + "=" + attribute.value());
  const auto text = trim(node.text().get());
  if (!text.empty()) parts.push_back(path + "=" + std::string(text));
  for (const auto child : node.children()) {
    if (child.type() != pugi::node_element) continue;
    collect(child, path + "/" + child.name() + key_of(child), parts);
  }
}

}  // namespace

void patch_domain(pugi::xml_document& document, const GuestDefinition& guest,
                  const XmlChoices& choices) {
  auto domain = document.child("domain");
  const auto owned = owned_parts(domain);
  const bool was_ours = static_cast<bool>(find_mark(domain));
  if (auto title = domain.child("title")) {
    title.text().set(title_for(guest.display_name).c_str());
  } else {
    domain.insert_child_after("title", domain.child("name"))
        .text()
        .set(title_for(guest.display_name).c_str());
  }
  write_mark(domain, guest);

  DomainFacts now;
  if (auto facts = read_domain_facts(to_text(document)); facts.ok()) now = facts.value();
  if (now.memory_mib != guest.memory_mib) {
    set_text(domain, "memory", std::to_string(guest.memory_mib));
    set_attribute(domain.child("memory"), "unit", "MiB");
    domain.remove_child("currentMemory");  // follows the maximum
  }
  if (now.cpus != guest.cpus) {
    auto vcpu = child_of(domain, "vcpu");
    vcpu.remove_attribute("current");
    vcpu.text().set(std::to_string(guest.cpus).c_str());
    domain.remove_child("vcpus");  // per-CPU states of the former count
  }
  patch_limits(domain, guest.limits, owned_ids(owned, "limit"));
  if (was_ours || !guest.kernel_path.empty()) fill_boot(domain.child("os"), guest);

  auto devices = child_of(domain, "devices");
  patch_disks(devices, guest, owned, choices.disk_cache);
  patch_nics(devices, guest, owned);
  patch_agent_channel(devices, guest, owned);
  patch_serial(devices, guest, owned);
}

std::vector<std::string> canonical_parts(const pugi::xml_document& document) {
  std::vector<std::string> parts;
  const auto domain = document.child("domain");
  collect(domain, "domain", parts);
  std::sort(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> lost_parts(const pugi::xml_document& before,
                                    const pugi::xml_document& wanted,
                                    const pugi::xml_document& stored) {
  const auto first = canonical_parts(before);
  const auto second = canonical_parts(wanted);
  const auto third = canonical_parts(stored);
  std::vector<std::string> kept;
  std::set_intersection(first.begin(), first.end(), second.begin(), second.end(),
                        std::back_inserter(kept));
  std::vector<std::string> lost;
  std::set_difference(kept.begin(), kept.end(), third.begin(), third.end(),
                      std::back_inserter(lost));
  return lost;
}

}  // namespace reeve::agent::libvirt
