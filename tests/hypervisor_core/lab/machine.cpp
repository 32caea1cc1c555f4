#include "tests/hypervisor_core/lab/machine.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <signal.h>
#include <unistd.h>

#include "base/file.h"

namespace reeve::lab {

using namespace core;
using namespace core::control;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

void require(bool truth, const std::string& what) {
  std::printf("%s: %s\n", truth ? "ok" : "FAILED", what.c_str());
  std::fflush(stdout);
  if (!truth) std::exit(1);
}

std::string shell(const std::string& command) {
  const auto done = take(
      reeve::run({.argv = {"sh", "-c", command}, .timeout = std::chrono::minutes(3)}), command);
  if (done.exit_code != 0) require(false, command + "\n" + done.output + done.errors);
  return done.output;
}

Machine::Machine(const std::string& name, const v1::MachineConfig& config,
                 const fs::path& restore_from, Console console)
    : folder_("/tmp/" + name) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / kMachineFile, std::ios::binary) << config.SerializeAsString();
  if (!restore_from.empty()) fs::rename(restore_from, folder_ / kRestoreFile);
  process_ =
      take(Process::spawn({"reeve-vmm", "--run-dir", folder_.string()}, {.errors = STDERR_FILENO}),
           "starting reeve-vmm");
  for (int i = 0; i < 1000 && !client_; ++i) {
    auto connected = ControlClient::connect(folder_ / kControlSocket);
    if (connected.ok())
      client_ = std::move(connected).value();
    else
      usleep(20'000);
  }
  require(client_.has_value(), "machine " + name + " is there");
  if (console == Console::Watched) call([](auto& r) { r.mutable_watch_console(); });
}

v1::ControlReply Machine::call(const std::function<void(v1::ControlRequest&)>& choose) {
  v1::ControlRequest request;
  choose(request);
  return take(client_->call(std::move(request), 120s), "control call");
}

v1::MachineStatus Machine::status() {
  return call([](auto& r) { r.mutable_get_status(); }).status();
}

void Machine::pause() {
  call([](auto& r) { r.mutable_pause(); });
}

void Machine::resume() {
  call([](auto& r) { r.mutable_resume(); });
}

fs::path Machine::save() {
  pause();
  const auto begin = std::chrono::steady_clock::now();
  call([](auto& r) { r.mutable_save()->set_file_name("state"); });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("saved %.1f MiB in %.2f s\n",
              static_cast<double>(fs::file_size(folder_ / "state")) / 1048576, took.count());
  call([](auto& r) { r.mutable_stop(); });
  require(ended().kind() == v1::ExitReport::KIND_KILLED, "the machine is gone after its save");
  return folder_ / "state";
}

void Machine::type(std::string text) {
  while (!text.empty()) {
    const auto taken = call([&](auto& r) {
                         r.mutable_write_console()->set_input(text.substr(0, 4096));
                       }).console_bytes_taken();
    text.erase(0, taken);
    if (!text.empty()) absorb(20ms);
  }
}

void Machine::absorb(std::chrono::milliseconds wait) {
  auto event = take(client_->next_event(wait), "console");
  if (event && event->has_console_output()) console_ += event->console_output().output();
}

std::string Machine::expect(const std::string& text, std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::size_t found = 0;
  while ((found = console_.find(text)) == std::string::npos) {
    if (std::chrono::steady_clock::now() > deadline) {
      std::printf("console:\n%s\n", console_.c_str());
      require(false, "the console never said " + text);
    }
    absorb(1s);
  }
  std::string before = console_.substr(0, found);
  console_.erase(0, found + text.size());
  return before;
}

void Machine::wait_until_up() {
  expect("REEVE-GUEST UP ");
  run("true");  // from here on its terminal does not echo
}

std::string Machine::run(const std::string& command, std::chrono::seconds timeout) {
  type(command + "\n");
  std::string output = expect("REEVE-DONE ", timeout);
  const std::string code = expect("\n", timeout);
  std::erase(output, '\r');
  if (code != "0\r") std::printf("%s\n", output.c_str());
  require(code == "0\r", "in the guest: " + command);
  return output;
}

void Machine::power_off() {
  call([](auto& r) { r.mutable_press_power_button(); });
  require(ended().kind() == v1::ExitReport::KIND_GUEST_POWER_OFF,
          "the power button powers the guest off");
}

pid_t Machine::pid() const {
  pid_t pid = 0;
  std::ifstream(folder_ / kPidFile) >> pid;
  return pid;
}

void Machine::cut_power() {
  ::kill(pid(), SIGKILL);
  require(process_->wait(60s).ok(), "the power is cut");
}

v1::ExitReport Machine::ended() {
  const bool ends = process_->wait(120s).ok();
  if (!ends) {
    std::printf("%s\n", ("state " + std::to_string(status().state())).c_str());
    for (int i = 0; i < 20; ++i) absorb(50ms);
    std::printf("console:\n%s\n", console_.c_str());
  }
  require(ends, "reeve-vmm ends");
  v1::ExitReport report;
  report.ParseFromString(take(read_file(folder_ / kExitFile), "exit report"));
  return report;
}

std::uint64_t Machine::memory_kib(const std::string& field) const {
  std::ifstream status("/proc/" + std::to_string(pid()) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field + ":")) return std::strtoull(&line[field.size() + 1], nullptr, 10);
  return 0;
}

std::string with_probe(const std::string& archive) {
  const std::string made = "/tmp/probe-" + fs::path(archive).filename().string();
  if (!fs::exists(made))
    shell(
        "mkdir -p /tmp/added/bin && cp /lab/core_guest_probe /tmp/added/bin/probe && cd /tmp/added "
        "&& find . | cpio -o -H newc >/tmp/added.cpio 2>/dev/null && cat " +
        archive + " /tmp/added.cpio >" + made);
  return made;
}

v1::MachineConfig quick_guest(std::uint32_t vcpus) {
  v1::MachineConfig config;
  config.set_vcpus(vcpus);
  config.set_memory_mib(192);
  config.set_kernel_path("/lab/vmlinux");
  config.set_initrd_path(with_probe("/lab/guest.cpio"));
  config.set_command_line("console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=none");
  config.set_uuid("6f2b1c1e-0f5d-4a58-9d3c-0b9a3a6c1d2e");
  return config;
}

void add_disk(v1::MachineConfig& config, const std::string& id, std::uint64_t mib) {
  auto& disk = *config.add_disks();
  disk.set_id(id);
  disk.set_serial("lab-" + id);
  auto& layer = *disk.add_layers();
  layer.set_path("/tmp/" + id + ".raw");
  layer.set_format(v1::DISK_FORMAT_RAW);
  std::ofstream(layer.path()).close();
  fs::resize_file(layer.path(), mib << 20);
}

}  // namespace reeve::lab
