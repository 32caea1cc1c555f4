// tests/hypervisor_core/lab/guest_scenario.cpp - runs inside the lab machine: unmodified Linux on
// our own core. Argument: the scenario. Prints what it does; exit code 0 means all of it held.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "hypervisor_core/accel/kvm/probe.h"
#include "hypervisor_core/control/client.h"

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::control;
using namespace std::chrono_literals;

namespace {

void require(bool truth, const std::string& what) {
  std::printf("%s: %s\n", truth ? "ok" : "FAILED", what.c_str());
  std::fflush(stdout);
  if (!truth) std::exit(1);
}

template <class T>
T take(Result<T> result, const std::string& what) {
  if (!result.ok()) require(false, what + ": " + result.error().message());
  return std::move(result).value();
}

/// One reeve-vmm process.
class Machine {
 public:
  Machine(std::string name, const v1::MachineConfig& config, const std::string& restore_from = "")
      : dir_("/tmp/" + std::move(name)) {
    std::filesystem::create_directories(dir_);
    std::ofstream(dir_ / kMachineFile, std::ios::binary) << config.SerializeAsString();
    if (!restore_from.empty()) std::filesystem::rename(restore_from, dir_ / kRestoreFile);
    process_ =
        take(Process::spawn({"reeve-vmm", "--run-dir", dir_.string()}, {.errors = STDERR_FILENO}),
             "starting reeve-vmm");
    for (int i = 0; i < 1000 && !client_; ++i) {
      auto connected = ControlClient::connect(dir_ / kControlSocket);
      if (connected.ok())
        client_ = std::move(connected).value();
      else
        usleep(20'000);
    }
    require(client_.has_value(), "reeve-vmm listens");
    call([](auto& r) { r.mutable_watch_console(); });
  }
  v1::ControlReply call(const std::function<void(v1::ControlRequest&)>& choose) {
    v1::ControlRequest request;
    choose(request);
    return take(client_->call(std::move(request), 60s), "control call");
  }
  /// Reads the console until `text` is there.
  void expect(const std::string& text, std::chrono::seconds timeout = 120s) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (console_.find(text) == std::string::npos) {
      if (std::chrono::steady_clock::now() > deadline) {
        std::printf("%s\n", console_.c_str());
        require(false, "waiting for " + text);
      }
      auto event = take(client_->next_event(1s), "console");
      if (event && event->has_console_output()) console_ += event->console_output().output();
    }
    console_.erase(0, console_.find(text) + text.size());
    require(true, "console says " + text);
  }
  /// Runs a command in the guest; returns when it is done with exit code 0.
  void run(const std::string& command) {
    call([&](auto& r) { r.mutable_write_console()->set_input(command + "\n"); });
    expect("REEVE-DONE 0");
  }
  v1::ExitReport ended() {
    require(process_->wait(60s).ok(), "reeve-vmm ends");
    v1::ExitReport report;
    report.ParseFromString(take(read_file(dir_ / kExitFile), "exit report"));
    std::printf("exit: %s\n", report.message().c_str());
    return report;
  }
  std::string file(const char* name) const { return (dir_ / name).string(); }

 private:
  std::filesystem::path dir_;
  std::optional<Process> process_;
  std::optional<ControlClient> client_;
  std::string console_;
};

v1::MachineConfig linux_machine(std::uint32_t vcpus) {
  v1::MachineConfig config;
  config.set_vcpus(vcpus);
  config.set_memory_mib(192);
  config.set_kernel_path("/lab/vmlinux");
  config.set_initrd_path("/lab/guest.cpio");
  config.set_command_line("console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=none");
  config.set_uuid("6f2b1c1e-0f5d-4a58-9d3c-0b9a3a6c1d2e");
  config.set_rng(true);
  auto& disk = *config.add_disks();
  disk.set_id("data");
  disk.set_serial("lab-data");
  auto& layer = *disk.add_layers();
  layer.set_path("/tmp/data.raw");
  layer.set_format(v1::DISK_FORMAT_RAW);
  std::ofstream(layer.path()).close();
  std::filesystem::resize_file(layer.path(), 64 << 20);
  return config;
}

/// Boot with two vCPUs, disk verified, pause cycles, save, restore elsewhere, power button.
void life() {
  const auto probe = take(accel::probe_kvm(), "probe");
  std::printf("kvm: %s (%lld us)\n", probe.summary.c_str(),
              static_cast<long long>(probe.took.count()));
  require(probe.usable, "the probe finds KVM usable");
  const auto config = linux_machine(2);
  Machine first("first", config);
  first.expect("REEVE-GUEST UP");
  first.run("test $(nproc) = 2");
  first.run("test $(cat /sys/block/vda/serial) = lab-data");
  first.run("dmesg | grep -iE 'acpi.*(error|warn)|firmware bug' && false || true");
  first.run(
      "dd if=/dev/urandom of=/tmp/r bs=64k count=64 && dd if=/tmp/r of=/dev/vda bs=64k conv=fsync");
  first.run("echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=64k count=64 | cmp - /tmp/r");
  for (int i = 0; i < 20; ++i) {
    first.call([](auto& r) { r.mutable_pause(); });
    first.call([](auto& r) { r.mutable_resume(); });
  }
  first.run("sleep 1; cat /proc/uptime");
  first.run("(while :; do echo $$ >/tmp/alive; sleep 1; done) & echo kept >/tmp/kept");
  first.call([](auto& r) { r.mutable_pause(); });
  const auto begin = std::chrono::steady_clock::now();
  first.call([](auto& r) { r.mutable_save()->set_file_name("state"); });
  const auto took = std::chrono::steady_clock::now() - begin;
  std::printf(
      "saved %ju bytes in %lld ms\n",
      static_cast<std::uintmax_t>(std::filesystem::file_size(first.file("state"))),
      static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  first.call([](auto& r) { r.mutable_stop(); });
  require(first.ended().kind() == v1::ExitReport::KIND_KILLED, "the first process was stopped");

  Machine second("second", config, first.file("state"));
  second.run("test $(cat /tmp/kept) = kept; rm /tmp/alive; sleep 2; test -e /tmp/alive");
  second.run("dd if=/dev/vda bs=64k count=64 | cmp - /tmp/r");
  second.run("dd if=/tmp/r of=/dev/vda bs=64k seek=64 conv=fsync");
  second.call([](auto& r) { r.mutable_press_power_button(); });
  require(second.ended().kind() == v1::ExitReport::KIND_GUEST_POWER_OFF,
          "the power button powers off");
}

/// Boots the bzImage, reboots from inside in the same process.
void reboot() {
  auto config = linux_machine(1);
  config.set_kernel_path("/lab/bzImage");
  Machine machine("reboot", config);
  machine.expect("REEVE-GUEST UP");
  machine.call([](auto& r) { r.mutable_write_console()->set_input("reboot -f\n"); });
  machine.expect("REEVE-GUEST UP");
  const auto status = machine.call([](auto& r) { r.mutable_get_status(); }).status();
  require(status.resets() == 1, "the machine was reset in the same process");
  require(status.boot_format() == "bzImage (64-bit)", "it was entered as a bzImage");
  machine.call([](auto& r) { r.mutable_stop(); });
}

/// A disk on a host file system that fills up: the machine waits, moves to another process, and
/// goes on when there is room, with every byte.
void full() {
  std::filesystem::create_directories("/tmp/small");
  const auto mount_with = [](const char* size, unsigned long flags) {
    require(mount("small", "/tmp/small", "tmpfs", flags, size) == 0, size);
  };
  mount_with("size=4m", 0);
  auto config = linux_machine(1);
  config.mutable_disks(0)->mutable_layers(0)->set_path("/tmp/small/disk.raw");
  std::ofstream("/tmp/small/disk.raw").close();
  std::filesystem::resize_file("/tmp/small/disk.raw", 64 << 20);
  Machine first("full-first", config);
  first.expect("REEVE-GUEST UP");
  first.run("dd if=/dev/urandom of=/tmp/r bs=64k count=256");
  first.call([](auto& r) {
    r.mutable_write_console()->set_input(
        "dd if=/tmp/r of=/dev/vda bs=64k conv=fsync && cmp -n 16777216 /tmp/r /dev/vda && echo "
        "ALL-\"\"THERE\n");
  });
  using Status = v1::MachineStatus;
  const auto reaches = [](Machine& machine, Status::State wanted) {
    for (int i = 0; i < 600; ++i) {
      const auto now = machine.call([](auto& r) { r.mutable_get_status(); }).status();
      if (now.state() == wanted) return now;
      usleep(100'000);
    }
    require(false, "the state asked for comes");
    return Status();
  };
  const auto waiting = reaches(first, Status::STATE_WAITING_FOR_SPACE);
  std::printf("waiting for: %s\n", waiting.waiting_for().c_str());
  require(waiting.waiting_for().find("disk 'data'") != std::string::npos, "it says for what");
  first.call([](auto& r) { r.mutable_pause(); });
  first.call([](auto& r) { r.mutable_save()->set_file_name("state"); });
  first.call([](auto& r) { r.mutable_stop(); });
  first.ended();

  Machine second("full-second", config, first.file("state"));
  (void)reaches(second, Status::STATE_WAITING_FOR_SPACE);
  second.call([](auto& r) { r.mutable_resume(); });  // still no room
  (void)reaches(second, Status::STATE_WAITING_FOR_SPACE);
  mount_with("size=100m", MS_REMOUNT);
  second.expect("ALL-THERE");
  second.call([](auto& r) { r.mutable_stop(); });
}

}  // namespace

int main(int count, char** arguments) {
  const std::map<std::string, void (*)()> scenarios{
      {"life", life}, {"reboot", reboot}, {"full", full}};
  const auto chosen = scenarios.find(count > 1 ? arguments[1] : "life");
  if (chosen == scenarios.end()) return 2;
  chosen->second();
  std::printf("all held\n");
  return 0;
}
