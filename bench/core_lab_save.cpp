// bench/core_lab_save.cpp - a guest of 1 GiB with 200 MiB in use is saved to a file and comes back
// in a new process. The peer is QEMU by itself: libvirt's restore is this and libvirt besides.
#include "bench/core_lab_save.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "bench/console_process.h"
#include "tests/hypervisor_core/lab/machine.h"

namespace reeve::bench {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr const char* kLine = "console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=none";
constexpr const char* kMonitor = "/tmp/monitor";
constexpr const char* kQemuState = "/tmp/qemu.state";

struct Times {
  std::vector<double> save, restore;  ///< seconds
  std::vector<double> mib, used_mib;  ///< of the file; of the guest's memory before
};

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double mib_of(const fs::path& file) {
  return static_cast<double>(fs::file_size(file)) / 1048576;
}

/// The guest's memory that there is: a memfd with both monitors.
double used_mib_of(pid_t pid) {
  const auto status = read_file("/proc/" + std::to_string(pid) + "/status");
  const std::string field = "RssShmem:";
  const auto at = status.ok() ? status.value().find(field) : std::string::npos;
  if (at == std::string::npos) give_up("no " + field + " of process " + std::to_string(pid));
  return std::stod(status.value().substr(at + field.size())) / 1024;
}

/// Time from the call that starts the new process to the guest's next words.
void ours(Times& times) {
  core::v1::MachineConfig config;
  config.set_vcpus(1);
  config.set_memory_mib(1024);
  config.set_kernel_path("/lab/vmlinux");
  config.set_initrd_path("/tmp/guest.cpio");
  config.set_command_line(kLine);
  config.set_uuid("6f2b1c1e-0f5d-4a58-9d3c-0b9a3a6c1d2e");
  fs::path state;
  {
    lab::Machine machine("save-first", config);
    machine.wait_until_up();
    machine.type("probe hold 200\n");
    machine.expect("tick 20");
    times.used_mib.push_back(used_mib_of(machine.pid()));
    const auto begin = Clock::now();
    state = machine.save();
    times.save.push_back(since(begin));
  }
  times.mib.push_back(mib_of(state));
  const auto begin = Clock::now();
  lab::Machine machine("save-second", config, state);
  machine.expect("tick");
  times.restore.push_back(since(begin));
  machine.expect("tick 120");
  machine.call([](auto& request) { request.mutable_stop(); });
  (void)machine.ended();
  fs::remove_all(machine.folder());
}

std::vector<std::string> qemu(const std::vector<std::string>& more) {
  std::vector<std::string> argv{"qemu-system-x86_64",
                                "-M",
                                "q35,memory-backend=ram",
                                "-object",
                                "memory-backend-memfd,id=ram,size=1G",
                                "-m",
                                "1024",
                                "-accel",
                                "kvm",
                                "-cpu",
                                "host",
                                "-nodefaults",
                                "-no-reboot",
                                "-display",
                                "none",
                                "-serial",
                                "stdio",
                                "-kernel",
                                "/lab/vmlinux",
                                "-initrd",
                                "/tmp/guest.cpio",
                                "-append",
                                kLine};
  argv.insert(argv.end(), more.begin(), more.end());
  return argv;
}

/// Without a limit of the rate, as libvirt asks for it. The guest runs until the last pages, for
/// what was stopped comes back stopped.
void save_qemu() {
  auto monitor = connect_unix(kMonitor, SocketWaits::Yes);
  if (!monitor.ok()) give_up(monitor.error().message());
  const std::string said =
      std::string("migrate_set_parameter max-bandwidth 100G\nmigrate \"exec:cat>") + kQemuState +
      "\"\nquit\n";
  (void)write_all(monitor.value().get(), as_bytes(said));
  char bytes[4096];
  while (::read(monitor.value().get(), bytes, sizeof bytes) > 0) {
  }
}

void peer(Times& times) {
  fs::remove(kMonitor);
  {
    ConsoleProcess guest(
        qemu({"-monitor", std::string("unix:") + kMonitor + ",server=on,wait=off"}));
    guest.wait_for("REEVE-GUEST UP");
    guest.type("probe hold 200\n");
    guest.wait_for("tick 20");
    times.used_mib.push_back(used_mib_of(guest.pid()));
    const auto begin = Clock::now();
    save_qemu();
    times.save.push_back(since(begin));
  }
  times.mib.push_back(mib_of(kQemuState));
  ConsoleProcess guest(qemu({"-incoming", std::string("exec:cat ") + kQemuState}));
  times.restore.push_back(guest.wait_for("tick") / 1000);
  guest.wait_for("tick 120");
  fs::remove(kQemuState);
}

void print(const char* name, const Times& times) {
  std::printf(
      "1 GiB guest, 200 MiB in use, %s: file %.1f MiB, %.3f of its used memory (%.1f MiB), "
      "save %.2f s, restore to running %.3f s\n",
      name, median(times.mib), median(times.mib) / median(times.used_mib), median(times.used_mib),
      median(times.save), median(times.restore));
}

}  // namespace

void save_and_restore(int rounds) {
  Times our_times, peer_times;
  for (int i = 0; i < rounds; ++i) {
    ours(our_times);
    peer(peer_times);
  }
  print("reeve-vmm", our_times);
  print("QEMU q35", peer_times);
  std::printf("promise: our file under 1.1 of the used memory\n");
  std::printf(
      "ratio of file to QEMU's %.2f, of save %.2f, of restore %.2f (promise: at most 0.20)\n",
      median(our_times.mib) / median(peer_times.mib),
      median(our_times.save) / median(peer_times.save),
      median(our_times.restore) / median(peer_times.restore));
}

}  // namespace reeve::bench
