#include "agent/driver/libvirt/domain_xml.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "agent/driver/libvirt/domain_facts.h"
#include "agent/driver/libvirt/limits.h"
#include "base/text.h"
#include "base/uuid.h"

namespace reeve::agent::libvirt {

namespace {

constexpr std::size_t kLongestSocketPath = 107;  // sockaddr_un(7)

Error invalid(const GuestDefinition& guest, std::string_view what) {
  return Error(Code::InvalidArgument, "GUEST_INVALID",
               "guest '" + guest.display_name + "': " + std::string(what));
}

bool is_clean(std::string_view text) {
  return is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

std::string type_of(DiskFormat format) {
  return format == DiskFormat::Raw ? "raw" : "qcow2";
}

void add_features(pugi::xml_node domain, const XmlChoices& choices) {
  auto features = domain.append_child("features");
  features.append_child("acpi");
  features.append_child("apic");
  if (choices.domain_type == "test") return;
  auto cpu = domain.append_child("cpu");
  set_attribute(cpu, "mode", choices.domain_type == "kvm" ? "host-passthrough" : "maximum");
  auto clock = domain.append_child("clock");
  set_attribute(clock, "offset", "utc");
  const auto timer = [&](const char* name, const char* key, const char* value) {
    auto node = clock.append_child("timer");
    set_attribute(node, "name", name);
    set_attribute(node, key, value);
  };
  timer("rtc", "tickpolicy", "catchup");
  timer("pit", "tickpolicy", "delay");
  timer("hpet", "present", "no");
}

void add_serial(pugi::xml_node devices, const GuestDefinition& guest) {
  auto serial = devices.append_child("serial");
  set_attribute(serial, "type", guest.run_dir.empty() ? "null" : "unix");
  if (!guest.run_dir.empty()) {
    auto source = serial.append_child("source");
    set_attribute(source, "mode", "bind");
    set_attribute(source, "path", serial_socket_path(guest));
    auto log = serial.append_child("log");
    set_attribute(log, "file", serial_log_path(guest));
    set_attribute(log, "append", "on");
  }
  set_attribute(serial.append_child("target"), "port", "0");
}

void add_small_devices(pugi::xml_node devices) {
  auto usb = devices.append_child("controller");
  set_attribute(usb, "type", "usb");
  set_attribute(usb, "model", "none");
  auto balloon = devices.append_child("memballoon");
  set_attribute(balloon, "model", "virtio");
  set_attribute(balloon, "freePageReporting", "on");
  set_attribute(balloon.append_child("stats"), "period", "10");
  auto rng = devices.append_child("rng");
  set_attribute(rng, "model", "virtio");
  auto backend = rng.append_child("backend");
  set_attribute(backend, "model", "random");
  backend.text().set("/dev/urandom");
  set_attribute(devices.append_child("panic"), "model", "isa");
}

}  // namespace

Status check_definition(const GuestDefinition& guest) {
  if (!is_uuid(guest.uid)) return invalid(guest, "its uid is not a UUID");
  if (guest.cpus < 1 || guest.cpus > 1'024) return invalid(guest, "it needs 1 to 1024 CPUs");
  if (guest.memory_mib < 1 || guest.memory_mib > (std::int64_t{1} << 34))
    return invalid(guest, "it needs memory");
  const auto& limits = guest.limits;
  if (limits.cpu_weight < 0 || limits.cpu_limit_percent < 0 || limits.memory_limit_mib < 0)
    return invalid(guest, "a limit is negative");
  if (serial_socket_path(guest).size() > kLongestSocketPath)
    return invalid(guest, "its run directory '" + guest.run_dir + "' is too long for a socket");
  std::vector<std::string> texts{guest.kernel_path, guest.initrd_path, guest.command_line,
                                 guest.seed_path, guest.run_dir};
  for (const auto& disk : guest.disks) {
    texts.insert(texts.end(), {disk.id, disk.path, disk.backing_path});
    // virtio-blk gives the guest 20 bytes of serial number.
    if (disk.id.empty() || disk.id.size() > 20)
      return invalid(guest, "a disk id is not 1 to 20 bytes");
    if (disk.path.empty()) return invalid(guest, "disk '" + disk.id + "' has no file");
  }
  for (const auto& nic : guest.nics) texts.insert(texts.end(), {nic.id, nic.mac, nic.bridge});
  if (!std::all_of(texts.begin(), texts.end(), is_clean))
    return invalid(guest, "a path or option has characters that XML cannot carry");
  return {};
}

pugi::xml_node child_of(pugi::xml_node parent, const char* name) {
  auto node = parent.child(name);
  return node ? node : parent.append_child(name);
}

void set_text(pugi::xml_node parent, const char* name, const std::string& text) {
  child_of(parent, name).text().set(text.c_str());
}

void set_attribute(pugi::xml_node node, const char* name, const std::string& value) {
  auto attribute = node.attribute(name);
  if (!attribute) attribute = node.append_attribute(name);
  attribute.set_value(value.c_str());
}

std::string serial_socket_path(const GuestDefinition& guest) {
  return guest.run_dir + "/serial.sock";
}
std::string serial_log_path(const GuestDefinition& guest) {
  return guest.run_dir + "/serial.log";
}

std::string disk_target(std::size_t index) {
  std::string letters;
  for (++index; index > 0; index = (index - 1) / 26)
    letters.insert(letters.begin(), static_cast<char>('a' + (index - 1) % 26));
  return "vd" + letters;
}

std::string domain_name_for(std::string_view display_name) {
  constexpr std::size_t kLongest = 120;  // log and socket files carry it, with suffixes
  std::string name = is_utf8(display_name) ? std::string(display_name) : std::string();
  for (char& c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '/') c = '-';
  if (name.size() > kLongest) {
    name.resize(kLongest);
    while (!is_utf8(name)) name.pop_back();
  }
  while (!name.empty() && (name.front() == '.' || name.front() == ' ')) name.erase(0, 1);
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name.empty() ? "guest" : name;
}

std::string domain_name_for(std::string_view display_name, std::string_view uid) {
  return domain_name_for(display_name) + "-" + std::string(uid.substr(0, 8));
}

std::string digest_of(const GuestDefinition& guest) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a; tells changes apart, protects nothing
  const auto add = [&hash](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    hash = (hash ^ 0xff) * 0x100000001b3;  // no text contains it: ends a field
  };
  for (const auto& text :
       {guest.uid, guest.display_name, std::to_string(guest.cpus), std::to_string(guest.memory_mib),
        guest.kernel_path, guest.initrd_path, guest.command_line, guest.seed_path, guest.run_dir})
    add(text);
  add(guest.guest_agent ? "agent" : "");
  const auto& limits = guest.limits;
  for (const std::int64_t limit : {std::int64_t{limits.cpu_weight},
                                   std::int64_t{limits.cpu_limit_percent}, limits.memory_limit_mib})
    add(std::to_string(limit));
  for (const auto& disk : guest.disks)
    for (const auto& text : {disk.id, disk.path, type_of(disk.format), disk.backing_path,
                             type_of(disk.backing_format), std::string(disk.read_only ? "ro" : "")})
      add(text);
  for (const auto& nic : guest.nics)
    for (const auto& text : {nic.id, nic.mac, nic.bridge}) add(text);
  std::array<std::byte, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(hash >> (56 - 8 * i));
  return to_hex(bytes);
}

void fill_disk(pugi::xml_node node, const GuestDisk& disk, const std::string& cache) {
  set_attribute(node, "type", "file");
  set_attribute(node, "device", "disk");
  auto driver = child_of(node, "driver");
  set_attribute(driver, "name", "qemu");
  set_attribute(driver, "type", type_of(disk.format));
  set_attribute(driver, "cache", cache);
  if (!disk.read_only) set_attribute(driver, "discard", "unmap");
  auto source = child_of(node, "source");
  set_attribute(source, "file", disk.path);
  // An explicit end of the chain, else libvirt and QEMU would read the header and believe it.
  while (node.remove_child("backingStore")) {
  }
  auto backing = node.insert_child_after("backingStore", source);
  if (!disk.backing_path.empty()) {
    set_attribute(backing, "type", "file");
    set_attribute(backing.append_child("format"), "type", type_of(disk.backing_format));
    set_attribute(backing.append_child("source"), "file", disk.backing_path);
    backing.append_child("backingStore");
  }
  if (!disk.read_only) node.remove_child("readonly");
  if (disk.read_only) child_of(node, "readonly");
  set_text(node, "serial", disk.id);
}

void add_disk(pugi::xml_node devices, const GuestDisk& disk, const std::string& target,
              const std::string& cache) {
  auto node = devices.append_child("disk");
  fill_disk(node, disk, cache);
  auto place = node.append_child("target");
  set_attribute(place, "dev", target);
  set_attribute(place, "bus", "virtio");
}

GuestDisk seed_disk(const GuestDefinition& guest) {
  return {.id = kSeedId, .path = guest.seed_path, .format = DiskFormat::Raw, .read_only = true};
}

void fill_nic(pugi::xml_node interface, const GuestNic& nic) {
  set_attribute(interface, "type", nic.bridge.empty() ? "user" : "bridge");
  if (nic.bridge.empty()) {
    interface.remove_child("source");
  } else {
    set_attribute(child_of(interface, "source"), "bridge", nic.bridge);
  }
}

void add_nic(pugi::xml_node devices, const GuestNic& nic) {
  auto interface = devices.append_child("interface");
  set_attribute(interface.append_child("mac"), "address", nic.mac);
  fill_nic(interface, nic);
  set_attribute(interface.append_child("model"), "type", "virtio");
}

void add_agent_channel(pugi::xml_node devices) {
  auto channel = devices.append_child("channel");
  set_attribute(channel, "type", "unix");
  auto target = channel.append_child("target");
  set_attribute(target, "type", "virtio");
  set_attribute(target, "name", kAgentChannel);
}

void fill_boot(pugi::xml_node os, const GuestDefinition& guest) {
  const auto put = [&](const char* name, const std::string& text) {
    if (text.empty()) {
      os.remove_child(name);
    } else {
      set_text(os, name, text);
    }
  };
  put("kernel", guest.kernel_path);
  put("initrd", guest.initrd_path);
  put("cmdline", guest.kernel_path.empty() ? std::string() : guest.command_line);
}

void write_mark(pugi::xml_node domain, const GuestDefinition& guest) {
  auto metadata = domain.child("metadata");
  if (!metadata) {
    const auto title = domain.child("title");
    metadata = domain.insert_child_after("metadata", title ? title : domain.child("name"));
  }
  if (const auto old = find_mark(domain)) metadata.remove_child(old);
  auto mark = metadata.append_child("reeve:guest");
  set_attribute(mark, "xmlns:reeve", kNamespace);
  set_attribute(mark, "digest", digest_of(guest));
  const auto own = [&](const char* kind, const std::string& id) {
    auto node = mark.append_child("owns");
    set_attribute(node, "kind", kind);
    set_attribute(node, "id", id);
  };
  for (const auto& disk : guest.disks) own("disk", disk.id);
  if (!guest.seed_path.empty()) own("disk", kSeedId);
  for (const auto& nic : guest.nics) own("nic", nic.mac);
  if (guest.guest_agent) own("channel", kAgentChannel);
  for (const auto& kind : limit_kinds(guest.limits)) own("limit", kind);
  if (!guest.run_dir.empty()) own("serial", serial_socket_path(guest));
}

pugi::xml_document new_domain(const GuestDefinition& guest, const XmlChoices& choices) {
  pugi::xml_document document;
  auto domain = document.append_child("domain");
  set_attribute(domain, "type", choices.domain_type);
  set_text(domain, "name", choices.name);
  set_text(domain, "uuid", guest.uid);
  if (choices.domain_type != "test") domain.append_child("genid");
  set_text(domain, "title", title_for(guest.display_name));
  write_mark(domain, guest);
  set_text(domain, "memory", std::to_string(guest.memory_mib));
  set_attribute(domain.child("memory"), "unit", "MiB");
  set_text(domain, "vcpu", std::to_string(guest.cpus));
  patch_limits(domain, guest.limits, {});
  auto os = domain.append_child("os");
  auto type = os.append_child("type");
  if (choices.domain_type != "test") {
    set_attribute(type, "arch", "x86_64");
    set_attribute(type, "machine", "q35");
  }
  type.text().set("hvm");
  fill_boot(os, guest);
  add_features(domain, choices);
  set_text(domain, "on_poweroff", "destroy");
  set_text(domain, "on_reboot", "restart");
  set_text(domain, "on_crash", "destroy");
  auto devices = domain.append_child("devices");
  std::size_t index = 0;
  for (const auto& disk : guest.disks)
    add_disk(devices, disk, disk_target(index++), choices.disk_cache);
  if (!guest.seed_path.empty())
    add_disk(devices, seed_disk(guest), disk_target(index++), choices.disk_cache);
  for (const auto& nic : guest.nics) add_nic(devices, nic);
  add_serial(devices, guest);
  if (guest.guest_agent) add_agent_channel(devices);
  if (choices.domain_type != "test") add_small_devices(devices);
  if (!choices.confine) {
    auto label = domain.append_child("seclabel");
    set_attribute(label, "type", "none");
  }
  return document;
}

std::string to_text(const pugi::xml_document& document) {
  std::ostringstream out;
  document.save(out, "", pugi::format_raw | pugi::format_no_declaration);
  return std::move(out).str();
}

}  // namespace reeve::agent::libvirt
