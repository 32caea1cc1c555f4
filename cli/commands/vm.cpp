// cli/commands/vm.cpp - reeve vm: list, show, power verbs, update, delete. create is in
// vm_create.cpp.
#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/parse.h"
#include "cli/commands/vm_create.h"
#include "cli/commands/vm_limits.h"
#include "cli/console.h"
#include "cli/follow.h"
#include "cli/names.h"
#include "cli/output/resources.h"
#include "cli/output/vm_page.h"
#include "cli/select.h"
#include "cli/watch.h"

namespace reeve::cli {
namespace {

struct ListArguments {
  std::string filter{};
  std::string order_by{};
  bool watch = false;
};

void add_list_arguments(const Verb& verb, const std::shared_ptr<ListArguments>& arguments) {
  verb.option("-f,--filter", arguments->filter, "e.g. 'state = RUNNING AND label.env != prod'");
  verb.option("--order-by", arguments->order_by,
              "display_name, create_time or update_time; add ' desc'");
  verb.flag("-w,--watch", arguments->watch, "Then print every change until Ctrl-C");
}

/// For people only: scripts find the marks in the guide.
void explain_marks(const std::vector<v1::VirtualMachine>& vms) {
  if (::isatty(STDOUT_FILENO) != 1) return;
  flush_output();
  if (std::ranges::any_of(vms, [](const auto& vm) { return !vm.active_job().empty(); }))
    note("*  a job is changing it");
  if (std::ranges::any_of(vms,
                          [](const auto& vm) { return vm.status().pending_restart_size() > 0; }))
    note("^  has changes that take effect when it is stopped and started");
}

Status list(Session& session, const ListArguments& arguments) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  const auto listed = TRY(all_vms(client, arguments.filter, arguments.order_by));
  Names names(client, Names::Expect::Many);
  const auto columns = vm_columns([&names](const auto& resource) { return names.of(resource); });
  if (!arguments.watch) {
    print(render_list(listed.items, columns, format));
    if (format == Format::Table || format == Format::Wide) explain_marks(listed.items);
    return {};
  }
  auto options = TRY(watch_from(client, "vms", listed, arguments.filter));
  print(render_before_watch(listed, columns, format));
  return watch(session, std::move(options));
}

Status show(Session& session, const std::string& name) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  v1::GetVmRequest request;
  request.set_name(TRY(select_vm(client, name)).name());
  const auto vm = TRY(client.call(&v1::VmService::Stub::GetVm, client.vms(), request));
  Names names(client, Names::Expect::One);
  const NameOf name_of = [&names](const auto& resource) { return names.of(resource); };
  print(format == Format::Table ? vm_page(vm, name_of)
                                : render_one(vm, vm_columns(name_of), format));
  return {};
}

/// Some that failed are a partial failure; all that failed for one reason are that failure.
Status sum_of(const std::vector<Error>& failures, std::size_t machines) {
  if (failures.empty()) return {};
  const auto& first = failures.front();
  const bool alike =
      failures.size() == machines && std::ranges::all_of(failures, [&first](const Error& error) {
        return error.code() == first.code() && error.reason() == first.reason();
      });
  if (alike)
    return Error::from_wire(first.code(), std::string(first.reason()),
                            fmt::format("all {} machines failed", machines));
  return Error{Code::Aborted, "PARTIAL",
               fmt::format("{} of {} machines failed", failures.size(), machines)};
}

/// Applies one verb to several machines: begins all, then waits for each; one bad one does not stop
/// the rest.
Status for_each_vm(Session& session, const std::vector<v1::VirtualMachine>& vms,
                   const std::function<Result<v1::Job>(Client&, const v1::VirtualMachine&)>& verb) {
  TRY(check_change(session));
  Client& client = *TRY(session.client());
  if (vms.size() == 1) return finish(session, TRY(verb(client, vms.front())));
  if (!session.change.request_id.empty())
    return Error{
        Code::InvalidArgument, "USAGE",
        fmt::format("--request-id names one request, and {} machines are meant", vms.size())};
  std::vector<v1::Job> jobs;
  std::vector<Error> failures;
  const auto fail = [&](const std::string& name, const Error& error) {
    note(fmt::format("{}: {} ({})", printable(name), error.message(), error.reason()));
    if (!error.remedy().empty()) note("  remedy: " + error.remedy());
    failures.push_back(error);
  };
  for (const auto& vm : vms) {
    session.change.request_id.clear();  // each machine is a request of its own
    auto job = verb(client, vm);
    if (job.ok()) {
      jobs.push_back(std::move(job).value());
    } else {
      fail(vm.display_name(), job.error());
    }
  }
  for (auto& job : jobs) {
    const std::string name = job.target_display_name();
    const auto done = finish(session, std::move(job));
    if (done.ok()) continue;
    if (done.error().reason() == "INTERRUPTED" || done.error().reason() == "WAIT_TIMEOUT")
      return done;  // the waiting is over for all of them
    fail(name, done.error());
  }
  return sum_of(failures, vms.size());
}

struct VerbArguments {
  std::vector<std::string> names{};
  std::optional<double> grace{};
  bool force = false;
  bool yes = false;
};

template <class Request>
Request request_for(Session& session, const v1::VirtualMachine& vm) {
  Request request;
  request.set_name(vm.name());
  request.set_request_id(session.request_id());
  request.set_validate_only(session.change.dry_run);
  return request;
}

template <class Request>
void set_grace(Request& request, const VerbArguments& arguments) {
  if (!arguments.grace && !arguments.force) return;
  const double seconds = arguments.force ? 0 : *arguments.grace;
  request.mutable_grace()->set_seconds(static_cast<std::int64_t>(seconds));
  request.mutable_grace()->set_nanos(static_cast<std::int32_t>(
      (seconds - static_cast<double>(static_cast<std::int64_t>(seconds))) * 1e9));
}

Verb add_verb(const Verb& vm, const std::string& name, const std::string& help, Session& session,
              const std::shared_ptr<VerbArguments>& arguments) {
  const auto verb = vm.add(name, help);
  verb.option("vm", arguments->names, "Names, uids, uid prefixes or globs").required();
  add_change_options(verb, session.change);
  return verb;
}

template <class Request, class Method>
void add_power_verb(const Verb& vm, const std::string& name, const std::string& help,
                    Session& session, Method method) {
  auto arguments = std::make_shared<VerbArguments>();
  const auto verb = add_verb(vm, name, help, session, arguments);
  constexpr bool kHasGrace = requires(Request r) {
    r.mutable_grace();
  };
  if constexpr (kHasGrace) {
    verb.option("--grace", arguments->grace, "Seconds the guest may take (default 60)")
        .between(0.0, 86400.0);
    verb.flag("--force", arguments->force, "Do not ask the guest: same as --grace 0");
  }
  verb.does(session, [&session, arguments, method]() -> Status {
    const auto connection = TRY(session.client());
    const auto vms = TRY(select_vms(*connection, arguments->names));
    return for_each_vm(session, vms, [&](Client& client, const v1::VirtualMachine& target) {
      auto request = request_for<Request>(session, target);
      if constexpr (kHasGrace) set_grace(request, *arguments);
      return client.call(method, client.vms(), request);
    });
  });
}

void add_delete(const Verb& vm, Session& session) {
  auto arguments = std::make_shared<VerbArguments>();
  const auto verb = add_verb(vm, "delete", "Delete machines and their disks", session, arguments);
  verb.alias("rm");
  verb.flag("--force", arguments->force, "Power off running machines first");
  verb.flag("-y,--yes", arguments->yes, "Do not ask");
  verb.does(session, [&session, arguments]() -> Status {
    const auto connection = TRY(session.client());
    const auto vms = TRY(select_vms(*connection, arguments->names));
    std::string question = "Delete with all disks:";
    for (const auto& target : vms) question += " " + printable(target.display_name());
    if (!session.change.dry_run) TRY(confirm(question + "?", arguments->yes));
    return for_each_vm(session, vms, [&](Client& client, const v1::VirtualMachine& target) {
      auto request = request_for<v1::DeleteVmRequest>(session, target);
      request.set_force(arguments->force);
      return client.call(&v1::VmService::Stub::DeleteVm, client.vms(), request);
    });
  });
}

struct UpdateArguments {
  std::string name{};
  std::optional<int> cpus{};
  std::string memory{};
  std::string new_name{};
  std::optional<std::string> description{};
  std::vector<std::string> labels{};
  LimitArguments limits{};
};

/// Tells which changes wait for the machine's next start.
Status tell_pending(Session& session, const std::string& name) {
  const bool changed = !session.change.dry_run && !session.change.async;
  if (!changed || !is_for_people(TRY(session.format()))) return {};
  Client& client = *TRY(session.client());
  v1::GetVmRequest request;
  request.set_name(name);
  const auto vm = client.call(&v1::VmService::Stub::GetVm, client.vms(), request);
  if (!vm.ok() || vm.value().status().pending_restart().empty()) return {};
  const auto& pending = vm.value().status().pending_restart();
  note(fmt::format("{} takes effect when {} is stopped and started",
                   join({pending.begin(), pending.end()}, ", "),
                   printable(vm.value().display_name())));
  return {};
}

Status update(Session& session, const UpdateArguments& arguments) {
  TRY(check_change(session));
  Client& client = *TRY(session.client());
  v1::UpdateVmRequest request;
  *request.mutable_vm() = TRY(select_vm(client, arguments.name));
  auto& vm = *request.mutable_vm();
  auto& mask = *request.mutable_update_mask();
  if (arguments.cpus) {
    vm.mutable_spec()->set_cpus(*arguments.cpus);
    mask.add_paths("spec.cpus");
  }
  if (!arguments.memory.empty()) {
    vm.mutable_spec()->set_memory_mib(TRY(parse_size_bytes(arguments.memory, 'M')) >> 20);
    mask.add_paths("spec.memory_mib");
  }
  if (!arguments.new_name.empty()) {
    vm.set_display_name(arguments.new_name);
    mask.add_paths("display_name");
  }
  if (arguments.description) {
    vm.set_description(*arguments.description);
    mask.add_paths("description");
  }
  if (!arguments.labels.empty()) {
    TRY(parse_labels(arguments.labels, *vm.mutable_labels()));
    mask.add_paths("labels");
  }
  for (const auto& path : TRY(fill_limits(arguments.limits, *vm.mutable_spec()->mutable_limits())))
    mask.add_paths(path);
  if (mask.paths().empty())
    return Error{Code::InvalidArgument, "USAGE",
                 "nothing to change: give --cpus, --memory, --cpu-weight, --cpu-limit, "
                 "--memory-limit, --name, --description or --label"};
  request.set_request_id(session.request_id());
  request.set_validate_only(session.change.dry_run);
  const auto job = TRY(client.call(&v1::VmService::Stub::UpdateVm, client.vms(), request));
  TRY(finish(session, job));
  return tell_pending(session, vm.name());
}

void add_update(const Verb& vm, Session& session) {
  auto arguments = std::make_shared<UpdateArguments>();
  const auto verb =
      vm.add("update", "Change processors, memory, limits, name, description or labels");
  verb.option("vm", arguments->name, "Name, uid or uid prefix").required();
  verb.option("--cpus", arguments->cpus, "Virtual processors");
  verb.option("--memory", arguments->memory, "Memory, e.g. 2G");
  add_limit_options(verb, arguments->limits);
  verb.option("--name", arguments->new_name, "New display name").not_empty();
  verb.option("--description", arguments->description, "New description");
  verb.repeated("--label", arguments->labels, "KEY=VALUE, added to the labels; may be repeated");
  add_change_options(verb, session.change);
  verb.does(session, update, arguments);
}

void add_console(const Verb& vm, Session& session) {
  auto options = std::make_shared<ConsoleOptions>();
  const auto verb = vm.add("console", "Attach to the serial console; Ctrl-] leaves");
  verb.option("vm", options->name, "Name, uid or uid prefix").required();
  verb.flag("--read-only", options->read_only, "Only look");
  verb.flag("--take-over", options->take_over, "Write even if another client does");
  verb.flag("--no-follow", options->no_follow, "Print what is kept and leave");
  verb.option("--until", options->until, "Leave successfully once the output has this text");
  verb.option("--timeout", options->timeout_seconds, "With --until: seconds to wait for it")
      .between(1, 31'536'000);
  verb.does(session, attach_console, options);
}

}  // namespace

void add_vm(const Verb& app, Session& session) {
  const auto vm = app.add_noun("vm", "Virtual machines");
  auto list_arguments = std::make_shared<ListArguments>();
  const auto list_verb = vm.add(
      "list", "List machines; STATE* a job is changing it, STATE^ changes wait for stop and start");
  list_verb.alias("ls");
  add_list_arguments(list_verb, list_arguments);
  list_verb.does(session, list, list_arguments);
  auto name = std::make_shared<std::string>();
  const auto show_verb = vm.add("show", "Show one machine and what can be done with it");
  show_verb.option("vm", *name, "Name, uid or uid prefix").required();
  show_verb.does(session, show, name);
  add_vm_create(vm, session);
  using Stub = v1::VmService::Stub;
  add_power_verb<v1::StartVmRequest>(vm, "start", "Start stopped machines", session,
                                     &Stub::StartVm);
  add_power_verb<v1::StopVmRequest>(vm, "stop", "Shut machines down, by force after a grace",
                                    session, &Stub::StopVm);
  add_power_verb<v1::RebootVmRequest>(vm, "reboot", "Restart guests, by force after a grace",
                                      session, &Stub::RebootVm);
  add_power_verb<v1::PauseVmRequest>(vm, "pause", "Stop executing, keeping memory", session,
                                     &Stub::PauseVm);
  add_power_verb<v1::ResumeVmRequest>(vm, "resume", "Go on after pause", session, &Stub::ResumeVm);
  add_power_verb<v1::SaveVmRequest>(vm, "save", "Write memory to a file on the host and power off",
                                    session, &Stub::SaveVm);
  add_power_verb<v1::RestoreVmRequest>(vm, "restore", "Go on where the machine was saved", session,
                                       &Stub::RestoreVm);
  add_update(vm, session);
  add_delete(vm, session);
  add_console(vm, session);
}

}  // namespace reeve::cli
