// agent/main.cpp - the command line of reeve-agent: enroll, run.
#include <csignal>
#include <cstdio>
#include <iostream>

#include <CLI/CLI.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/composition.h"
#include "agent/host/fingerprint.h"
#include "agent/link/grpc_enrollment.h"
#include "base/file.h"
#include "base/log.h"

namespace {

using namespace reeve;
using namespace reeve::agent;

constexpr const char* kDefaultData = "/var/lib/reeve-agent";

struct RunOptions {
  std::string data{kDefaultData};
  std::string config{};
  std::vector<std::string> libvirt{};
  bool no_libvirt = false;
  bool simulate = false;
  bool print_config = false;
};

int fail(const Error& error) {
  std::cerr << "reeve-agent: " << error.message() << "\n";
  if (!error.remedy().empty()) std::cerr << "  " << error.remedy() << "\n";
  return 1;
}

Status make_data(const std::string& data) {
  TRY(make_dirs(data, 0711));
  // Others pass through to what was given to them; nobody else lists.
  if (::chmod(data.c_str(), 0711) != 0) return errno_error("setting the mode of '" + data + "'");
  return {};
}

std::string own_name() {
  char name[256] = "host";
  (void)::gethostname(name, sizeof name - 1);
  return name;
}

Result<AgentConfig> effective(const RunOptions& options) {
  AgentConfig config;
  const std::string standard = "/etc/reeve/agent.toml";
  const bool has_standard = ::access(standard.c_str(), R_OK) == 0;
  const std::string path = !options.config.empty() ? options.config : has_standard ? standard : "";
  if (!path.empty()) {
    const std::string text = TRY(read_file(path, 1u << 20));
    config = TRY(parse_config(text, path));
  }
  if (!options.libvirt.empty() || options.no_libvirt) {
    config.libvirt.clear();
    for (const auto& uri : options.libvirt) config.libvirt.push_back({hypervisor_id_of(uri), uri});
    config.libvirt_is_default = false;
  }
  if (config.libvirt_is_default) config.libvirt.push_back({"qemu", "qemu:///system"});
  if (options.simulate) config.simulate = true;
  return config;
}

log::Level level_of(const std::string& name) {
  if (name == "debug") return log::Level::Debug;
  if (name == "warning") return log::Level::Warning;
  return name == "error" ? log::Level::Error : log::Level::Info;
}

int run_agent(const RunOptions& options) {
  const auto config = effective(options);
  if (!config.ok()) return fail(config.error());
  if (options.print_config) {
    std::cout << to_toml(config.value());
    return 0;
  }
  log::set_level(level_of(config.value().log_level));
  // Taken by sigwait() below; blocked before any thread exists.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  if (auto made = make_data(options.data); !made.ok()) return fail(made.error());
  auto agent = Agent::start(options.data, config.value());
  if (!agent.ok()) return fail(agent.error());
  int number = 0;
  sigwait(&signals, &number);
  log::info("agent stops; machines go on", {{"signal", number}});
  return 0;
}

int enroll_host(const std::string& data, const EnrollOptions& options) {
  if (auto made = make_data(data); !made.ok()) return fail(made.error());
  const IdentityFiles files(data);
  const auto identity = enroll(files, options);
  if (!identity.ok()) return fail(identity.error());
  std::cout << "enrolled as host " << identity.value().host_uid() << "\n"
            << "next: systemctl enable --now reeve-agent, or reeve-agent run --data " << data
            << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ::umask(0077);
  CLI::App app{"reeve-agent: runs machines on this host for a Reeve server"};
  app.set_version_flag("--version", REEVE_VERSION);
  app.require_subcommand(1);

  EnrollOptions enroll_options;
  enroll_options.hostname = own_name();
  std::string data = kDefaultData;
  auto* enroll_command = app.add_subcommand("enroll", "Join this host to a server");
  enroll_command->add_option("--server", enroll_options.server, "API address, host:port")
      ->required();
  enroll_command->add_option("--token", enroll_options.token, "Token of 'reeve host enroll-token'")
      ->required();
  enroll_command->add_option("--data", data, "Data folder")->capture_default_str();

  RunOptions run_options;
  auto* run_command = app.add_subcommand("run", "Serve until SIGTERM");
  run_command->add_option("--data", run_options.data, "Data folder")->capture_default_str();
  run_command->add_option("--config", run_options.config,
                          "TOML file (default: /etc/reeve/agent.toml if there)");
  run_command->add_option("--libvirt", run_options.libvirt,
                          "libvirt connection instead of the configured ones");
  run_command->add_flag("--no-libvirt", run_options.no_libvirt, "No libvirt connection");
  run_command->add_flag("--simulate", run_options.simulate,
                        "Offer the hypervisor 'sim' that only pretends");
  run_command->add_flag("--print-config", run_options.print_config,
                        "Print the effective settings and end");

  CLI11_PARSE(app, argc, argv);
  return enroll_command->parsed() ? enroll_host(data, enroll_options) : run_agent(run_options);
}
