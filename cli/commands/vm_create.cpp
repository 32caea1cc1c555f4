#include "cli/commands/vm_create.h"

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/parse.h"
#include "cli/commands/vm_limits.h"
#include "cli/follow.h"
#include "cli/select.h"

namespace reeve::cli {
namespace {

// The API's own limits.
constexpr std::size_t kMaxUserData = 1u << 20;
constexpr std::size_t kMaxSeedPart = 256u << 10;

struct CreateArguments {
  std::string name{};
  std::vector<std::string> images{};
  std::vector<std::string> disks{};
  std::vector<std::string> nics{};
  int cpus = 1;
  std::string memory = "512M";
  std::string kernel{};
  std::string initrd{};
  std::string command_line{};
  std::string user_data{};
  std::string meta_data{};
  std::string network_config{};
  std::string host{};
  std::string hypervisor{};
  std::string description{};
  std::vector<std::string> labels{};
  LimitArguments limits{};
  bool guest_agent = false;
  bool start = false;
};

/// A name for a machine that was given none: what it is made from, and digits of the request's id,
/// so that a retry asks for the same.
std::string name_after(std::string_view origin, std::string_view request_id) {
  constexpr std::size_t kLongestOrigin = 56;  // names end at 63
  constexpr std::size_t kDigits = 6;
  return std::string(origin.substr(0, kLongestOrigin)) + "-" +
         std::string(request_id.substr(request_id.size() - std::min(kDigits, request_id.size())));
}

/// Names the machine after its first image, unless it has a name.
Status add_disks(Client& client, const CreateArguments& arguments, const std::string& request_id,
                 v1::VirtualMachine& vm) {
  auto& spec = *vm.mutable_spec();
  for (const auto& text : arguments.images) {
    // NAME or NAME,SIZE
    const auto comma = text.rfind(',');
    const auto image = TRY(select_image(client, text.substr(0, comma)));
    if (vm.display_name().empty())
      vm.set_display_name(name_after(image.display_name(), request_id));
    auto& disk = *spec.add_disks();
    disk.set_image(image.name());
    if (comma != std::string::npos)
      disk.set_size_bytes(TRY(parse_size_bytes(text.substr(comma + 1), 'G')));
  }
  for (const auto& text : arguments.disks)
    spec.add_disks()->set_size_bytes(TRY(parse_size_bytes(text, 'G')));
  return {};
}

Status add_nics(const CreateArguments& arguments, v1::VmSpec& spec) {
  for (const auto& text : arguments.nics) {
    if (text == "none") continue;
    // user, BRIDGE, or either with ",MAC"
    const auto parts = split(text, ',');
    if (parts[0].empty() || parts.size() > 2)
      return Error{Code::InvalidArgument, "USAGE",
                   "--nic '" + text + "' is neither user, none nor a bridge, with or without ,MAC"};
    auto& nic = *spec.add_nics();
    if (parts[0] != "user") nic.set_bridge(std::string(parts[0]));
    if (parts.size() > 1) nic.set_mac(std::string(parts[1]));
  }
  if (arguments.nics.empty()) spec.add_nics();
  return {};
}

Status add_boot(Client& client, const CreateArguments& arguments, v1::VmSpec& spec) {
  if (arguments.kernel.empty()) {
    if (!arguments.initrd.empty() || !arguments.command_line.empty())
      return Error{Code::InvalidArgument, "USAGE", "--initrd and --cmdline need --kernel"};
    return {};
  }
  auto& boot = *spec.mutable_boot();
  boot.set_kernel(TRY(select_image(client, arguments.kernel)).name());
  if (!arguments.initrd.empty())
    boot.set_initrd(TRY(select_image(client, arguments.initrd)).name());
  boot.set_command_line(arguments.command_line);
  return {};
}

/// A part of the cloud-init data, from the file that `option` names; empty when it names none.
Result<std::string> read_seed(const std::string& path, const char* option, std::size_t limit) {
  if (path.empty()) return std::string();
  auto text = read_input(path, limit);
  if (text.ok()) return text;
  const bool too_large = text.error().reason() == "FILE_TOO_LARGE";
  auto error = std::move(text).error().during(option);
  return too_large ? std::move(error).remedy(
                         "make it smaller; user-data can name by #include what the guest shall "
                         "fetch itself")
                   : std::move(error);
}

Status add_cloud_init(const CreateArguments& arguments, v1::VmSpec& spec) {
  v1::CloudInit seed;
  seed.set_user_data(TRY(read_seed(arguments.user_data, "--cloud-init", kMaxUserData)));
  seed.set_meta_data(TRY(read_seed(arguments.meta_data, "--meta-data", kMaxSeedPart)));
  seed.set_network_config(
      TRY(read_seed(arguments.network_config, "--network-config", kMaxSeedPart)));
  if (seed.ByteSizeLong() > 0) *spec.mutable_cloud_init() = std::move(seed);
  return {};
}

Status create(Session& session, const CreateArguments& arguments) {
  TRY(check_change(session));
  if (arguments.images.empty() && arguments.disks.empty() && arguments.kernel.empty())
    return Error(Code::InvalidArgument, "USAGE", "the machine would have nothing to boot")
        .remedy("give --image, --disk or --kernel");
  Client& client = *TRY(session.client());
  v1::CreateVmRequest request;
  auto& vm = *request.mutable_vm();
  vm.set_display_name(arguments.name);
  vm.set_description(arguments.description);
  TRY(parse_labels(arguments.labels, *vm.mutable_labels()));
  auto& spec = *vm.mutable_spec();
  spec.set_cpus(arguments.cpus);
  spec.set_memory_mib(TRY(parse_size_bytes(arguments.memory, 'M')) >> 20);
  spec.set_guest_agent(arguments.guest_agent);
  spec.set_hypervisor(arguments.hypervisor);
  if (!arguments.host.empty()) spec.set_host(TRY(select_host(client, arguments.host)).name());
  if (const auto paths = TRY(fill_limits(arguments.limits, *spec.mutable_limits())); paths.empty())
    spec.clear_limits();
  const std::string request_id = session.request_id();
  TRY(add_disks(client, arguments, request_id, vm));
  if (vm.display_name().empty()) vm.set_display_name(name_after("vm", request_id));
  TRY(add_nics(arguments, spec));
  TRY(add_boot(client, arguments, spec));
  TRY(add_cloud_init(arguments, spec));
  request.set_start(arguments.start);
  request.set_request_id(request_id);
  request.set_validate_only(session.change.dry_run);
  return finish(session, TRY(client.call(&v1::VmService::Stub::CreateVm, client.vms(), request)));
}

}  // namespace

void add_limit_options(const Verb& verb, LimitArguments& arguments) {
  verb.option("--cpu-weight", arguments.cpu_weight,
              "Share of the processors against other machines, 1 to 10000, or default");
  verb.option("--cpu-limit", arguments.cpu_limit,
              "Processor time at most, in percent of one processor, e.g. 250, or default");
  verb.option("--memory-limit", arguments.memory_limit,
              "Memory of the host at most, e.g. 3G: its memory and 128M at least; or default");
}

void add_vm_create(const Verb& vm, Session& session) {
  auto arguments = std::make_shared<CreateArguments>();
  const auto verb = vm.add("create", "Create a machine");
  verb.option("name,--name", arguments->name,
              "Display name (default: the first image's, with a few digits)")
      .not_empty();
  verb.repeated("--image", arguments->images,
                "Disk from this library image: NAME or NAME,SIZE; may be repeated");
  verb.repeated("--disk", arguments->disks, "Empty disk of this size, e.g. 10G; may be repeated");
  verb.repeated("--nic", arguments->nics,
                "user, none, or a bridge, each with optional ,MAC (default: user)")
      .not_empty();
  verb.option("--cpus", arguments->cpus, "Virtual processors (default 1)");
  verb.option("--memory", arguments->memory, "Memory, e.g. 1G (default 512M)");
  add_limit_options(verb, arguments->limits);
  verb.option("--kernel", arguments->kernel, "Boot this kernel image directly").not_empty();
  verb.option("--initrd", arguments->initrd, "Initial RAM disk image for --kernel").not_empty();
  verb.option("--cmdline", arguments->command_line, "Kernel command line for --kernel");
  verb.option("--cloud-init", arguments->user_data,
              "File with cloud-init user-data, - for standard input");
  verb.option("--meta-data", arguments->meta_data, "File with cloud-init meta-data");
  verb.option("--network-config", arguments->network_config, "File with cloud-init network-config");
  verb.option("--host", arguments->host, "Host to run on (default: the server chooses)")
      .not_empty();
  verb.option("--hypervisor", arguments->hypervisor, "Hypervisor on that host, e.g. qemu or core")
      .not_empty();
  verb.option("--description", arguments->description, "Free text");
  verb.repeated("--label", arguments->labels, "KEY=VALUE; may be repeated");
  verb.flag("--guest-agent", arguments->guest_agent, "Give it a qemu-guest-agent channel");
  verb.flag("--start", arguments->start, "Start it once it is made");
  add_change_options(verb, session.change);
  verb.does(session, create, arguments);
}

}  // namespace reeve::cli
