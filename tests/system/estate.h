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

class Estate {
 public:
  /// Starts server and agent, logs in, enrols, waits until the host is connected. `agent_config`
  /// (TOML) are the agent's settings; the private libvirtd is its hypervisor unless they have a
  /// `libvirt` of their own.
  explicit Estate(std::string agent_config = {});
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
  void kill_server();  ///< SIGKILL
  void kill_agent();   ///< SIGKILL
  void stop_server();  ///< SIGTERM and wait; REQUIREs exit code 0

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

  const std::string agent_config_;
  TempDir dir_;
  Libvirtd libvirtd_;
  std::string api_{};
  std::optional<Process> server_{};
  std::optional<Process> agent_{};
};

/// How often `part` is in `text`.
int times_in(const std::string& text, const std::string& part);

}  // namespace reeve::test
