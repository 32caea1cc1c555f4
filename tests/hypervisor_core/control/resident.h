// tests/hypervisor_core/control/resident.h - a reeve-vmm process of a test's own, and what is asked
// of it.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <unistd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/control/run_dir.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::control {

/// What lies in the run directory before the process starts.
using Prepare = std::function<void(const std::filesystem::path& run_dir)>;

/// A reeve-vmm process with a run directory, killed at the end if it still lives.
class Resident {
 public:
  explicit Resident(const v1::MachineConfig& config, std::vector<std::string> more = {},
                    const std::filesystem::path& restore_from = {}, int errors = STDERR_FILENO,
                    const Prepare& prepare = {}) {
    if (prepare) prepare(dir_.path());
    if (!restore_from.empty()) std::filesystem::create_hard_link(restore_from, dir_ / kRestoreFile);
    std::ofstream(dir_ / kMachineFile, std::ios::binary) << config.SerializeAsString();
    const auto program =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "reeve-vmm";
    std::vector<std::string> argv{program.string(), "--run-dir", dir_.path().string()};
    argv.insert(argv.end(), more.begin(), more.end());
    auto process = Process::spawn(argv, {.errors = errors}, Process::Session::Own);
    REQUIRE(process.ok());
    process_ = std::move(process).value();
  }
  ~Resident() {
    if (!process_->wait(std::chrono::milliseconds(0)).ok()) {
      process_->signal(9);
      (void)process_->wait(std::chrono::seconds(5));
    }
  }
  ControlClient connect(std::chrono::microseconds pause = std::chrono::milliseconds(10)) {
    for (auto left = std::chrono::seconds(5) / pause; left > 0; --left) {
      auto client = ControlClient::connect(dir_ / kControlSocket);
      if (client.ok()) return std::move(client).value();
      usleep(static_cast<useconds_t>(pause.count()));
    }
    FAIL("reeve-vmm does not listen");
    std::abort();
  }
  /// Of the machine's process, not of its warden.
  pid_t pid() const { return std::stoi(read_file(dir_ / kPidFile).value()); }
  bool ends() { return process_->wait(std::chrono::seconds(10)).ok(); }
  v1::ExitReport report() const {
    v1::ExitReport report;
    const auto bytes = read_file(dir_ / kExitFile);
    REQUIRE(bytes.ok());
    REQUIRE(report.ParseFromString(bytes.value()));
    return report;
  }
  std::filesystem::path file(std::string_view name) const { return dir_ / name; }

 private:
  reeve::test::TempDir dir_;
  std::optional<Process> process_;
};

inline v1::ControlRequest request_for(auto choose) {
  v1::ControlRequest request;
  choose(request);
  return request;
}

}  // namespace reeve::core::control
