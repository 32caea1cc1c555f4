#include "hypervisor_core/vmm/resident.h"

#include <filesystem>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "base/unix_socket.h"
#include "hypervisor_core/accel/kvm/kvm.h"
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/sandbox/sandbox.h"
#include "hypervisor_core/vmm/server.h"

namespace reeve::core::vmm {
namespace {

namespace fs = std::filesystem;

/// The lock says whether a process has the directory, its content which one.
Result<Fd> claim(const fs::path& run_dir) {
  auto file = TRY(open_file(run_dir / control::kPidFile, O_RDWR | O_CREAT, 0600));
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0)
    return Error{Code::FailedPrecondition, "VMM_RUNS", "another reeve-vmm has " + run_dir.string()};
  const auto ticks = TRY(process_start_ticks(getpid()));
  const std::string text = std::to_string(getpid()) + " " + std::to_string(ticks) + "\n";
  if (ftruncate(file.get(), 0) != 0) return errno_error("ftruncate");
  TRY(write_at(file.get(), 0, std::as_bytes(std::span(text))));
  return file;
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

/// From the saved state in the run directory when there is one, else from its kernel.
Result<std::unique_ptr<Vm>> make_machine(const fs::path& run_dir, const v1::MachineConfig& config,
                                         accel::Accelerator& kvm, VmOptions options) {
  auto saved = open_file(run_dir / control::kRestoreFile, O_RDONLY);
  if (!saved.ok()) return Vm::create(config, kvm, std::move(options));
  FdSource source(saved.value().get());
  // The agent's description names the files as they are on this host.
  return Vm::restore(source, kvm, std::move(options),
                     [&](v1::MachineConfig& from_stream) { from_stream = config; });
}

Status leave_report(const fs::path& run_dir, Vm& vm) {
  const auto end = vm.console().end_offset();
  const auto tail = vm.console().read(end > (64 << 10) ? end - (64 << 10) : 0, 64 << 10);
  TRY(write_file_durably(run_dir / control::kConsoleTail, tail.bytes));
  return write_file_durably(run_dir / control::kExitFile,
                            vm.exit().value_or(v1::ExitReport{}).SerializeAsString());
}

}  // namespace

Status run_resident(const Residence& residence) {
  const fs::path run_dir(residence.run_dir);
  const bool jailed = residence.jail_uid != 0;
  const Fd lock = TRY(claim(run_dir));
  TRY(remove_file(run_dir / control::kExitFile));
  const auto config = TRY(read_config(run_dir));
  const Fd folder = TRY(open_file(run_dir, O_RDONLY | O_DIRECTORY));
  auto device = TRY(accel::open_kvm_device());
  const auto kvm = TRY(accel::make_kvm(std::move(device)));
  const Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error("eventfd");
  const auto ring = [fd = wake.get()] { (void)eventfd_write(fd, 1); };
  VmOptions options{.on_change = ring};
  if (jailed) options.prepare_vcpu_thread = sandbox::filter_vcpu_thread;
  const auto vm = TRY(make_machine(run_dir, config, *kvm, options));
  vm->console().set_listener(ring);
  // The socket appears when the machine is ready: whoever can connect can also ask.
  Server server(*vm, TRY(listen_at(run_dir / control::kControlSocket)), wake.get(), folder.get());
  if (jailed)
    TRY(sandbox::enter_jail(
        {.uid = residence.jail_uid, .gid = residence.jail_gid, .root = residence.run_dir}));
  TRY(vm->state() == Vm::State::Created ? vm->start() : vm->resume());
  server.serve();
  vm->console().set_listener({});
  return leave_report(jailed ? fs::path("/") : run_dir, *vm);
}

}  // namespace reeve::core::vmm
