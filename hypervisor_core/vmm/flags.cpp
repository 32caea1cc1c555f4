#include "hypervisor_core/vmm/flags.h"

#include <charconv>
#include <functional>
#include <map>
#include <string_view>

#include "base/random.h"
#include "base/text.h"
#include "base/uuid.h"

namespace reeve::core::vmm {
namespace {

Error bad(const std::string& what) {
  return Error{Code::InvalidArgument, "BAD_FLAGS", what};
}

template <class T>
Result<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    return bad("'" + std::string(text) + "' is not a number");
  return value;
}

/// PATH[,raw|qcow2][,ro]; further layers follow as more paths separated by colons after the format.
Status add_disk(v1::MachineConfig& machine, std::string_view text) {
  auto& disk = *machine.add_disks();
  disk.set_id("disk" + std::to_string(machine.disks_size() - 1));
  const auto parts = split(text, ',');
  auto& layer = *disk.add_layers();
  layer.set_path(std::string(parts[0]));
  layer.set_format(v1::DISK_FORMAT_RAW);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "qcow2") {
      layer.set_format(v1::DISK_FORMAT_QCOW2);
    } else if (parts[i] == "ro") {
      disk.set_read_only(true);
    } else if (parts[i] != "raw") {
      return bad("unknown disk option '" + std::string(parts[i]) + "'");
    }
  }
  return {};
}

v1::NicConfig& add_nic(v1::MachineConfig& machine) {
  auto& nic = *machine.add_nics();
  const int index = machine.nics_size() - 1;
  nic.set_id("net" + std::to_string(index));
  nic.set_mac("52:54:00:12:34:5" + std::to_string(index));
  return nic;
}

using Setter = std::function<Status(Flags&, std::string_view)>;

const std::map<std::string_view, Setter>& setters() {
  static const std::map<std::string_view, Setter> table{
      {"--run-dir",
       [](Flags& f, std::string_view v) -> Status {
         f.run_dir = v;
         return {};
       }},
      {"--jail-uid",
       [](Flags& f, std::string_view v) -> Status {
         f.jail_uid = TRY(number<std::uint32_t>(v));
         return {};
       }},
      {"--jail-gid",
       [](Flags& f, std::string_view v) -> Status {
         f.jail_gid = TRY(number<std::uint32_t>(v));
         return {};
       }},
      {"--cgroup",
       [](Flags& f, std::string_view v) -> Status {
         f.cgroups.emplace_back(v);
         return {};
       }},
      {"--kernel",
       [](Flags& f, std::string_view v) -> Status {
         f.machine.set_kernel_path(std::string(v));
         return {};
       }},
      {"--initrd",
       [](Flags& f, std::string_view v) -> Status {
         f.machine.set_initrd_path(std::string(v));
         return {};
       }},
      {"--append",
       [](Flags& f, std::string_view v) -> Status {
         f.machine.set_command_line(std::string(v));
         return {};
       }},
      {"--memory",
       [](Flags& f, std::string_view v) -> Status {
         f.machine.set_memory_mib(TRY(number<std::uint64_t>(v)));
         return {};
       }},
      {"--vcpus",
       [](Flags& f, std::string_view v) -> Status {
         f.machine.set_vcpus(TRY(number<std::uint32_t>(v)));
         return {};
       }},
      {"--disk", [](Flags& f, std::string_view v) { return add_disk(f.machine, v); }},
      {"--tap",
       [](Flags& f, std::string_view v) -> Status {
         add_nic(f.machine).set_tap_name(std::string(v));
         return {};
       }},
      {"--passt",
       [](Flags& f, std::string_view v) -> Status {
         add_nic(f.machine).set_passt_socket(std::string(v));
         return {};
       }},
      {"--vsock",
       [](Flags& f, std::string_view v) -> Status {
         f.machine.set_vsock_cid(TRY(number<std::uint32_t>(v)));
         return {};
       }},
      {"--vsock-path",
       [](Flags& f, std::string_view v) -> Status {
         f.machine.set_vsock_path(std::string(v));
         return {};
       }},
      {"--serial-number",
       [](Flags& f, std::string_view v) -> Status {
         f.machine.set_system_serial(std::string(v));
         return {};
       }},
  };
  return table;
}

}  // namespace

const char* usage() {
  return "usage: reeve-vmm --run-dir DIR [--paused] [JAIL] [--cgroup DIR]...\n"
         "       reeve-vmm --kernel FILE [--initrd FILE] [--append TEXT] [--memory MIB] [--vcpus "
         "N]\n"
         "                 [--disk FILE[,raw|qcow2][,ro]]... [--tap NAME]... [--passt SOCKET]...\n"
         "                 [--rng] [--balloon] [--console] [--guest-agent] [--vsock CID] "
         "[--vsock-path "
         "PREFIX]\n"
         "                 [--serial-number TEXT] [--debug-exit] [--no-reboot] [--huge] [JAIL]\n"
         "JAIL:  [--jail-uid N --jail-gid N] what a process of root becomes, else made from the "
         "machine's\n"
         "       UUID; [--no-jail] keeps all rights: for finding faults, never for guests of "
         "others\n";
}

Result<Flags> parse_flags(std::span<const char* const> arguments) {
  Flags flags;
  flags.machine.set_memory_mib(256);
  flags.machine.set_vcpus(1);
  flags.machine.set_uuid(new_uuid(SystemRandom::instance()));
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view flag = arguments[i];
    if (flag == "--help")
      flags.help = true;
    else if (flag == "--rng")
      flags.machine.set_rng(true);
    else if (flag == "--balloon")
      flags.machine.set_balloon(true);
    else if (flag == "--console")
      flags.machine.set_console(true);
    else if (flag == "--guest-agent")
      flags.machine.set_guest_agent(true);
    else if (flag == "--no-jail")
      flags.jailed = false;
    else if (flag == "--paused")
      flags.paused = true;
    else if (flag == "--debug-exit")
      flags.machine.set_debug_exit(true);
    else if (flag == "--no-reboot")
      flags.machine.set_on_reset(v1::ON_RESET_STOP);
    else if (flag == "--huge")
      flags.machine.set_page_backing(v1::PAGE_BACKING_TRANSPARENT);
    else {
      const auto found = setters().find(flag);
      if (found == setters().end()) return bad("unknown flag '" + std::string(flag) + "'");
      if (++i == arguments.size()) return bad(std::string(flag) + " needs a value");
      TRY(found->second(flags, arguments[i]));
    }
  }
  return flags;
}

}  // namespace reeve::core::vmm
