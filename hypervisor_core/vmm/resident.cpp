#include "hypervisor_core/vmm/resident.h"

#include <cstdio>
#include <filesystem>

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "base/unix_socket.h"
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/vmm/accelerator.h"
#include "hypervisor_core/vmm/server.h"

namespace reeve::core::vmm {
namespace {

namespace fs = std::filesystem;

/// The lock says whether a process has the directory, its content which one. The agent ends the
/// process that is named there, so what the machine's process keeps is not for writing.
Result<Fd> claim(const fs::path& run_dir) {
  auto file = TRY(open_file(run_dir / control::kPidFile, O_RDONLY | O_CREAT | O_NOFOLLOW, 0600));
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0)
    return Error{Code::FailedPrecondition, "VMM_RUNS", "another reeve-vmm has " + run_dir.string()};
  return file;
}

Status write_pid(int file, pid_t pid) {
  const auto ticks = TRY(process_start_ticks(pid));
  const std::string text = std::to_string(pid) + " " + std::to_string(ticks) + "\n";
  if (ftruncate(file, 0) != 0) return errno_error("ftruncate");
  return write_at(file, 0, std::as_bytes(std::span(text)));
}

Result<Fd> listen_at(const fs::path& path) {
  TRY(remove_file(path));
  const mode_t before = umask(0177);
  auto socket = listen_unix(path, 8);
  umask(before);
  return socket;
}

Result<v1::MachineConfig> read_config(const fs::path& run_dir) {
  const auto bytes = TRY(read_file(run_dir / control::kMachineFile, control::kMaxMessage));
  v1::MachineConfig config;
  if (!config.ParseFromString(bytes))
    return Error{Code::InvalidArgument, "MACHINE_CONFIG",
                 "machine.pb is not a machine configuration"};
  return config;
}

/// "0" is the writer.
Status join(const std::string& group) {
  const Fd file = TRY(open_file(group + "/cgroup.procs", O_WRONLY));
  auto joined = write_all(file.get(), std::as_bytes(std::span("0", 1)));
  if (!joined.ok()) return std::move(joined).error().during("joining control group " + group);
  return {};
}

/// What the agent hands down on purpose.
std::vector<int> sockets_of(const v1::MachineConfig& config) {
  std::vector<int> sockets;
  for (const auto& nic : config.nics())
    if (nic.passt_fd() != 0) sockets.push_back(static_cast<int>(nic.passt_fd()));
  return sockets;
}

/// From the saved state in the run directory when there is one, else from its kernel.
Result<std::unique_ptr<Vm>> make_machine(const fs::path& run_dir, const v1::MachineConfig& config,
                                         accel::Accelerator& accelerator,
                                         const VmOptions& options) {
  auto saved = open_file(run_dir / control::kRestoreFile, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!saved.ok()) return Vm::create(config, accelerator, options);
  // The agent's description names the files as they are on this host.
  const auto adjust = [&](v1::MachineConfig& from_stream) { from_stream = config; };
  auto lazy = Vm::restore_lazily(TRY(saved.value().duplicate()), accelerator, options, adjust);
  if (lazy.ok() ||
      (lazy.error().reason() != "LAZY_UNAVAILABLE" && lazy.error().reason() != "STATE_NO_INDEX"))
    return lazy;
  std::fprintf(stderr, "reeve-vmm: reading all memory first: %s\n", lazy.error().message().c_str());
  FdSource source(saved.value().get());
  if (lseek(saved.value().get(), 0, SEEK_SET) != 0) return errno_error("reading saved state");
  return Vm::restore(source, accelerator, options, adjust);
}

Status leave_report(const fs::path& folder, const v1::ExitReport& report) {
  return write_file_durably(folder / control::kExitFile, report.SerializeAsString());
}

Status leave_report(const fs::path& folder, Vm& vm) {
  const auto end = vm.console().end_offset();
  const auto tail = vm.console().read(end > (64 << 10) ? end - (64 << 10) : 0, 64 << 10);
  TRY(write_file_durably(folder / control::kConsoleTail, tail.bytes));
  return leave_report(folder, vm.exit().value_or(v1::ExitReport{}));
}

/// Of a process that could not say so itself, however it ended. What it left stays.
void report_end(int folder, int status) {
  v1::ExitReport report;
  report.set_kind(v1::ExitReport::KIND_CRASHED);
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    if (signal == SIGKILL) report.set_kind(v1::ExitReport::KIND_KILLED);
    report.set_code(static_cast<std::uint64_t>(signal));
    report.set_message("the process of the machine was ended by signal " + std::to_string(signal) +
                       (signal == SIGKILL ? " (kill, or the host was out of memory)" : ""));
  } else {
    report.set_code(static_cast<std::uint64_t>(WEXITSTATUS(status)));
    report.set_message("the process of the machine ended with code " +
                       std::to_string(WEXITSTATUS(status)) + " and left no report");
  }
  const Fd file(openat(folder, control::kExitFile,
                       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  const auto bytes = report.SerializeAsString();
  if (file) (void)write_all(file.get(), std::as_bytes(std::span(bytes)));
}

}  // namespace

Status run_resident(const Residence& residence) {
  for (const auto& group : residence.cgroups) TRY(join(group));
  const fs::path run_dir(residence.run_dir);
  auto config = TRY(read_config(run_dir));
  sandbox::close_inherited(sockets_of(config));
  const Fd lock = TRY(claim(run_dir));
  Fd pid_file = TRY(open_file(run_dir / control::kPidFile, O_WRONLY | O_NOFOLLOW));
  TRY(remove_file(run_dir / control::kExitFile));
  if (chdir(run_dir.c_str()) != 0) return errno_error("entering " + residence.run_dir);
  if (!config.vsock_path().empty())
    config.set_vsock_path(TRY(path_in_cell(config.vsock_path(), run_dir.string())));
  auto network = TRY(HostNetwork::open(config));
  Fd outside = TRY(open_file(run_dir, O_RDONLY | O_DIRECTORY));
  auto jail =
      TRY(enter_cell(residence.cell, config,
                     {.root = residence.run_dir, .folder = sandbox::JailPlan::Folder::Share},
                     {.on_start = [&](pid_t pid) { return write_pid(pid_file.get(), pid); },
                      .on_end = [&](int status) { report_end(outside.get(), status); },
                      .keep = {lock.get(), pid_file.get(), outside.get()}}));
  outside.reset();  // the warden's; in here it would lead out of the root folder
  pid_file.reset();
  const auto accelerator = TRY(open_accelerator());
  const Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error("eventfd");
  const auto ring = [fd = wake.get()] { (void)eventfd_write(fd, 1); };
  VmOptions options{.on_change = ring, .open_network = network.opener()};
  // Its threads may wait for ever, so nothing is tidied up. The working directory is the run
  // directory, inside the jail and out of it.
  options.on_memory_lost = [](const v1::ExitReport& exit) {
    (void)leave_report(".", exit);
    _exit(4);
  };
  if (jail) options.prepare_thread = sandbox::narrow_thread;
  const auto vm = TRY(make_machine(run_dir, config, *accelerator, options));
  vm->console().set_listener(ring);
  auto typists = TRY(listen_at(run_dir / control::kConsoleSocket));
  auto listener = TRY(listen_at(run_dir / control::kControlSocket));
  fs::path folder = run_dir;
  sandbox::Report report;
  if (jail) {
    TRY(jail->close());
    report = jail->report();
    folder = jail->inside(residence.run_dir);
    std::fprintf(stderr, "reeve-vmm: jail: %s\n", report.text().c_str());
  }
  // Opened again: a descriptor from outside would lead back there.
  const Fd inside = TRY(open_file(folder, O_RDONLY | O_DIRECTORY));
  const auto console = TRY(ConsoleOutlet::open(*vm, inside.get(), std::move(typists)));
  Server server(*vm, *console, std::move(listener), wake.get(), inside.get(), report);
  if (vm->state() == Vm::State::Created)
    TRY(vm->start());
  else if (!residence.paused)
    TRY(vm->resume());
  server.serve();
  vm->console().set_listener({});
  console->write_log();
  return leave_report(folder, *vm);
}

}  // namespace reeve::core::vmm
