// tests/hypervisor_core/lab/machine.h - one reeve-vmm process in the lab, used through its control
// socket and its guest's console. Whatever fails ends the scenario.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/subprocess.h"
#include "hypervisor_core/control/client.h"

namespace reeve::lab {

/// Says what holds; ends the program with code 1 when it does not.
void require(bool truth, const std::string& what);

template <class T>
T take(Result<T> result, const std::string& what) {
  if (!result.ok()) require(false, what + ": " + result.error().message());
  return std::move(result).value();
}

/// Runs a program of the lab machine; its output. A code other than 0 fails.
std::string shell(const std::string& command);

class Machine {
 public:
  enum class Console : std::uint8_t { Watched, Ignored };

  /// Starts it in /tmp/NAME; `restore_from` is a saved state, which moves there.
  Machine(const std::string& name, const core::v1::MachineConfig& config,
          const std::filesystem::path& restore_from = {}, Console console = Console::Watched);

  core::v1::ControlReply call(const std::function<void(core::v1::ControlRequest&)>& choose);
  core::v1::MachineStatus status();
  void pause();
  void resume();
  /// Pauses, saves into a file of its folder and ends the machine.
  std::filesystem::path save();

  /// Types at the console.
  void type(std::string text);
  /// Reads the console until `text` is there; returns what came before it.
  std::string expect(const std::string& text,
                     std::chrono::seconds timeout = std::chrono::minutes(5));
  /// Waits for the quick guest to boot.
  void wait_until_up();
  /// Runs a command in the quick guest and returns its output; it must exit with 0.
  std::string run(const std::string& command,
                  std::chrono::seconds timeout = std::chrono::minutes(5));
  /// Everything the console said and expect() has not passed yet.
  void absorb(std::chrono::milliseconds wait);
  const std::string& unread() const { return console_; }

  void power_off();
  /// The power is cut: the process dies with what it had.
  void cut_power();
  /// Waits for the end of the process.
  core::v1::ExitReport ended();
  /// Of the process that runs the guest; the one started is its warden.
  pid_t pid() const;
  /// A field of /proc/PID/status, in KiB.
  std::uint64_t memory_kib(const std::string& field) const;
  const std::filesystem::path& folder() const { return folder_; }
  core::control::ControlClient& client() { return *client_; }

 private:
  std::filesystem::path folder_;
  std::optional<Process> process_;
  std::optional<core::control::ControlClient> client_;
  std::string console_;
};

/// For `grep -iE` in what Linux says while it boots: what it finds wrong with the machine.
inline constexpr const char* kComplaints =
    "ACPI.*(warning|error|exception|fail|AE_)|firmware bug|virtio.*(fail|error)|unhandled";

/// A guest's archive with /bin/probe (guest_probe.cpp) added, made once.
std::string with_probe(const std::string& archive);
/// The quick guest with 192 MiB, /bin/probe included, and nothing else.
core::v1::MachineConfig quick_guest(std::uint32_t vcpus);
/// Adds a raw disk of so many MiB: /tmp/ID.raw, made anew.
void add_disk(core::v1::MachineConfig& config, const std::string& id, std::uint64_t mib);

}  // namespace reeve::lab
