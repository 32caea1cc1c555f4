// tests/system/estate.h - a whole Reeve on loopback for one test: server, one agent, a private
// libvirtd.
//
// Everything is a real process, driven by the `reeve` command; everything ends with the object. A
// failed wait prints the end of the logs.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/subprocess.h"
#include "tests/support/libvirtd.h"
#include "tests/support/temp_dir.h"

namespace reeve::test {

struct EstateOptions {
  std::string agent_config{};   ///< TOML; without a `libvirt` it has the private libvirtd
  std::string server_config{};  ///< TOML
  int server_disk_mib = 0;      ///< a file system of its own under the data folder; 0 for none
  int agent_disk_mib = 0;       ///< the same for the agent
};

class Estate {
 public:
  /// Starts server and agent, logs in, enrols, waits until the host is connected.
  explicit Estate(EstateOptions options);
  explicit Estate(std::string agent_config = {})
      : Estate(EstateOptions{.agent_config = std::move(agent_config)}) {}
  ~Estate();
  Estate(const Estate&) = delete;
  Estate& operator=(const Estate&) = delete;

  /// What to run for `reeve arguments...`, with the login and `environment` ("NAME=VALUE").
  std::vector<std::string> reeve_argv(const std::vector<std::string>& arguments,
                                      const std::vector<std::string>& environment = {}) const;
  /// `reeve arguments...`; any exit code.
  Finished reeve(const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment = {}) const;
  /// The same with `-o json`, which must succeed.
  nlohmann::json reeve_json(std::vector<std::string> arguments) const;
  /// The machine's JSON, or null when there is none of that name.
  nlohmann::json vm(const std::string& name) const;
  /// Imports the quick guest's kernel and initramfs as "kernel" and "initrd".
  void import_quick_guest() const;
  /// Arguments of `vm create` for a quick guest with one empty disk.
  static std::vector<std::string> create_arguments(const std::string& name);

  void start_server();
  void start_agent();
  void kill_server();   ///< SIGKILL
  void kill_agent();    ///< SIGKILL
  void stop_server();   ///< SIGTERM and wait; REQUIREs exit code 0
  void freeze_agent();  ///< SIGSTOP: connected, and silent
  void thaw_agent();    ///< SIGCONT

  Libvirtd& libvirtd() { return libvirtd_; }
  const TempDir& dir() const { return dir_; }
  const std::string& api() const { return api_; }  ///< "127.0.0.1:PORT"
  std::string server_log() const;
  std::string agent_log() const;
  /// First column of the first row of a read-only query on the server's database.
  std::string query(const std::string& sql) const;

  /// Polls until `condition` holds; FAILs the test with `what` and the logs when it does not in
  /// time.
  void wait_until(const std::string& what, const std::function<bool()>& condition,
                  std::chrono::seconds limit = std::chrono::seconds(60)) const;

 private:
  void end(std::optional<Process>& process, int signal);
  Process spawn(const std::vector<std::string>& argv, const std::string& log) const;
  void mount_disk(const std::string& folder, int mib) const;

  const EstateOptions options_;
  TempDir dir_;
  Libvirtd libvirtd_;
  std::string api_{};
  std::optional<Process> server_{};
  std::optional<Process> agent_{};
};

/// An agent's configuration: only the hypervisor that pretends.
inline constexpr const char* kSimulated = "simulate = true\nlibvirt = []\ncore = \"off\"\n";

bool has(const std::string& text, const std::string& part);
std::vector<std::string> lines_of(const std::string& text);
/// How often `part` is in `text`.
int times_in(const std::string& text, const std::string& part);

}  // namespace reeve::test
