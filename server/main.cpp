// server/main.cpp - the program reeve-server: run, backup, restore, advance.

#include <csignal>
#include <cstdio>
#include <map>

#include <CLI/CLI.hpp>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "db/sqlite/backup.h"
#include "server/composition.h"
#include "server/config.h"
#include "server/version.h"

namespace reeve::server {
namespace {

struct Flags {
  std::string data{}, config{}, api{}, link{}, advertise{}, log_level{}, file{};
  bool keep_ports = false;
  bool print_config = false;
};

int fail(const Error& error) {
  std::fprintf(stderr, "reeve-server: %s (%s)\n", error.message().c_str(),
               std::string(error.reason()).c_str());
  if (!error.remedy().empty()) std::fprintf(stderr, "%s\n", error.remedy().c_str());
  return 1;
}

Result<Config> config_of(const Flags& flags) {
  Config config;
  if (!flags.config.empty()) {
    const auto text = TRY(read_file(flags.config, 1u << 20));
    if (auto read = read_config(text, config); !read.ok())
      return std::move(read).error().during(flags.config);
  }
  if (!flags.data.empty()) config.data = flags.data;
  if (!flags.api.empty()) config.api = flags.api;
  if (!flags.link.empty()) config.link = flags.link;
  if (!flags.advertise.empty()) config.advertise = flags.advertise;
  if (!flags.log_level.empty()) config.log_level = flags.log_level;
  config.keep_ports = config.keep_ports || flags.keep_ports;
  TRY(read_config("", config));  // checks what the flags changed
  return config;
}

void set_log_level(const std::string& name) {
  const std::map<std::string, log::Level> levels{{"debug", log::Level::Debug},
                                                 {"info", log::Level::Info},
                                                 {"warning", log::Level::Warning},
                                                 {"error", log::Level::Error}};
  log::set_level(levels.at(name));
}

/// As many connections as the system lets us have.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int run(const Config& config) {
  umask(0077);
  raise_file_limit();
  std::signal(SIGPIPE, SIG_IGN);
  // Blocked before there are threads, so that only sigwait() gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  set_log_level(config.log_level);

  auto server = Composition::start(config);
  if (!server.ok()) {
    if (::isatty(STDERR_FILENO) != 0) return fail(server.error());
    log::error("reeve-server failed", server.error(), {{"remedy", server.error().remedy()}});
    return 1;
  }
  const auto& started = server.value()->started();
  std::printf("api %s\nlink %s\nca %s\n", started.api_address.c_str(), started.link_address.c_str(),
              started.ca_fingerprint.c_str());
  if (!started.first_token.empty())
    std::printf("administrator's token in %s\n", started.first_token.c_str());
  if (!started.warning.empty()) std::printf("warning: %s\n", started.warning.c_str());
  std::printf("ready\n");
  std::fflush(stdout);
  log::info("server started", {{"version", kVersion},
                               {"api", started.api_address},
                               {"link", started.link_address},
                               {"ca", started.ca_fingerprint},
                               {"first_token", started.first_token.string()}});
  int signal = 0;
  sigwait(&signals, &signal);
  log::info("server stopping", {{"signal", signal}});
  server.value()->stop();
  log::info("server stopped");
  return 0;
}

int back_up(const Config& config, const std::string& file) {
  const auto facts = db::backup_to_file(config.data / "reeve.db", file);
  if (!facts.ok()) return fail(facts.error());
  std::printf("%s: %lld bytes, revision %lld, schema %d\n", file.c_str(),
              static_cast<long long>(facts.value().bytes),
              static_cast<long long>(facts.value().revision), facts.value().schema);
  return 0;
}

int restore(const Config& config, const std::string& file) {
  const auto restored = db::restore_from_file(file, config.data / "reeve.db");
  if (!restored.ok()) return fail(restored.error());
  std::printf("restored revision %lld", static_cast<long long>(restored.value().facts.revision));
  if (!restored.value().kept.empty())
    std::printf("; the database before is kept as %s", restored.value().kept.c_str());
  std::printf("\n");
  return 0;
}

int advance(const Config& config) {
  const auto epoch = db::advance_past_lost(config.data / "reeve.db");
  if (!epoch.ok()) return fail(epoch.error());
  std::printf("the database goes on at epoch %lld; start the server\n",
              static_cast<long long>(epoch.value()));
  return 0;
}

int main_with(int argc, char** argv) {
  CLI::App app{"Reeve's server: inventory, API and jobs."};
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(0, 1);
  Flags flags;
  app.add_flag("--print-config", flags.print_config, "print the effective configuration and exit");
  app.add_option("--config", flags.config, "TOML file");
  app.add_option("--data", flags.data, "folder of database, CA and first token");
  app.fallthrough();
  auto* run_command = app.add_subcommand("run", "serve until SIGTERM");
  run_command->add_option("--api", flags.api, "host:port for clients; port 0 takes a free one");
  run_command->add_option("--link", flags.link, "host:port for agents");
  run_command->add_option("--advertise", flags.advertise, "host name or address told to hosts");
  run_command->add_option("--log-level", flags.log_level, "debug, info, warning or error");
  run_command->add_flag("--keep-ports", flags.keep_ports, "with port 0: those of the last run");
  auto* backup_command = app.add_subcommand("backup", "copy the database, also while serving");
  backup_command->add_option("file", flags.file, "new file")->required();
  auto* restore_command = app.add_subcommand("restore", "put a backup in place; not while serving");
  restore_command->add_option("file", flags.file, "backup")->required();
  auto* advance_command = app.add_subcommand(
      "advance",
      "after an older database was put in place by hand: go on above what was lost; not while "
      "serving");
  CLI11_PARSE(app, argc, argv);

  const auto config = config_of(flags);
  if (!config.ok()) return fail(config.error());
  if (flags.print_config) return std::fputs(print_config(config.value()).c_str(), stdout) < 0;
  if (backup_command->parsed()) return back_up(config.value(), flags.file);
  if (restore_command->parsed()) return restore(config.value(), flags.file);
  if (advance_command->parsed()) return advance(config.value());
  if (run_command->parsed()) return run(config.value());
  std::fputs(app.help().c_str(), stderr);
  return 2;
}

}  // namespace
}  // namespace reeve::server

int main(int argc, char** argv) {
  return reeve::server::main_with(argc, argv);
}
