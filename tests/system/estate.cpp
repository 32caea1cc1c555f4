#include "tests/system/estate.h"

#include <csignal>
#include <thread>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "base/file.h"
#include "base/text.h"
#include "tests/support/guest_files.h"

namespace reeve::test {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

std::string tail_of(const std::filesystem::path& path) {
  auto text = read_file(path, 64u << 20);
  if (!text.ok()) return "(no log)";
  constexpr std::size_t kTail = 3000;
  const std::string& all = text.value();
  return all.size() > kTail ? all.substr(all.size() - kTail) : all;
}

}  // namespace

Estate::Estate(EstateOptions options) : options_(std::move(options)) {
  REQUIRE(make_dirs(dir_ / "server").ok());
  REQUIRE(make_dirs(dir_ / "agent").ok());
  mount_disk("server", options_.server_disk_mib);
  mount_disk("agent", options_.agent_disk_mib);
  start_server();
  const auto login =
      reeve({"login", api_, "--token-file", (dir_ / "server/admin.token").string(), "--yes"});
  INFO(login.errors);
  REQUIRE(login.exit_code == 0);
  const auto token = reeve_json({"host", "enroll-token", "--name", "host-1"});
  const auto enrolled =
      run({.argv = {REEVE_AGENT_PROGRAM, "enroll", "--server", api_, "--token",
                    token.at("token").get<std::string>(), "--data", (dir_ / "agent").string()}});
  REQUIRE(enrolled.ok());
  INFO(enrolled.value().errors);
  REQUIRE(enrolled.value().exit_code == 0);
  start_agent();
  wait_until("the host is connected with its hypervisor", [&] {
    const auto hosts = reeve_json({"host", "list"});
    return hosts.size() == 1 && hosts[0].value("state", "") == "STATE_CONNECTED" &&
           hosts[0].contains("hypervisors");
  });
}

Estate::~Estate() {
  end(agent_, SIGTERM);
  end(server_, SIGTERM);
  if (options_.server_disk_mib > 0) ::umount2((dir_ / "server").c_str(), MNT_DETACH);
  if (options_.agent_disk_mib > 0) ::umount2((dir_ / "agent").c_str(), MNT_DETACH);
}

/// In a mount namespace of this process and its children: nobody else sees it, and it goes with
/// them.
void Estate::mount_disk(const std::string& folder, int mib) const {
  if (mib == 0) return;
  static const bool own = ::unshare(CLONE_NEWNS) == 0 &&
                          ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  REQUIRE(own);
  const auto size = "mode=0700,size=" + std::to_string(mib) + "m";
  REQUIRE(::mount("none", (dir_ / folder).c_str(), "tmpfs", 0, size.c_str()) == 0);
}

Process Estate::spawn(const std::vector<std::string>& argv, const std::string& log) const {
  const Fd out = open_file(dir_ / log, O_WRONLY | O_CREAT | O_APPEND).value();
  auto process =
      Process::spawn(argv, {.output = out.get(), .errors = out.get()}, Process::Session::Own);
  REQUIRE(process.ok());
  return std::move(process).value();
}

void Estate::start_server() {
  const bool first = api_.empty();
  // The second time the ports are those of the first, so that the agent and the login find it
  // again.
  std::vector<std::string> argv{REEVE_SERVER_PROGRAM, "run", "--data", (dir_ / "server").string()};
  std::string api = "127.0.0.1:0", link = "127.0.0.1:0";
  const auto ports = dir_ / "server/ports.json";
  if (!first) {
    const auto last = json::parse(read_file(ports).value());
    api = "127.0.0.1:" + std::to_string(last.at("api").get<int>());
    link = "127.0.0.1:" + std::to_string(last.at("link").get<int>());
  }
  REQUIRE(remove_file(ports).ok());
  argv.insert(argv.end(), {"--api", api, "--link", link});
  if (!options_.server_config.empty()) {
    const auto file = (dir_ / "server.toml").string();
    REQUIRE(write_file_durably(file, options_.server_config).ok());
    argv.insert(argv.end(), {"--config", file});
  }
  server_.emplace(spawn(argv, "server.log"));
  wait_until("the server has written its ports", [&] { return std::filesystem::exists(ports); });
  api_ = "127.0.0.1:" + std::to_string(json::parse(read_file(ports).value()).at("api").get<int>());
}

void Estate::start_agent() {
  std::vector<std::string> argv{REEVE_AGENT_PROGRAM, "run", "--data", (dir_ / "agent").string()};
  if (options_.agent_config.find("libvirt") == std::string::npos)
    argv.insert(argv.end(), {"--libvirt", libvirtd_.uri()});
  if (!options_.agent_config.empty()) {
    const auto file = (dir_ / "agent.toml").string();
    REQUIRE(write_file_durably(file, options_.agent_config).ok());
    argv.insert(argv.end(), {"--config", file});
  }
  agent_.emplace(spawn(argv, "agent.log"));
}

void Estate::end(std::optional<Process>& process, int signal) {
  if (!process) return;
  process->signal(signal);
  if (!process->wait(20s).ok()) {
    process->signal(SIGKILL);
    (void)process->wait(5s);
  }
  process.reset();
}

void Estate::kill_server() {
  end(server_, SIGKILL);
}
void Estate::kill_agent() {
  end(agent_, SIGKILL);
}

void Estate::freeze_agent() {
  agent_->signal(SIGSTOP);
}
void Estate::thaw_agent() {
  agent_->signal(SIGCONT);
}

void Estate::stop_server() {
  server_->signal(SIGTERM);
  const auto code = server_->wait(20s);
  REQUIRE(code.ok());
  CHECK(code.value() == 0);
  server_.reset();
}

std::vector<std::string> Estate::reeve_argv(const std::vector<std::string>& arguments,
                                            const std::vector<std::string>& environment) const {
  std::vector<std::string> argv{"env", "REEVE_CONFIG=" + (dir_ / "contexts.toml").string()};
  argv.insert(argv.end(), environment.begin(), environment.end());
  argv.emplace_back(REEVE_PROGRAM);
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

Finished Estate::reeve(const std::vector<std::string>& arguments,
                       const std::vector<std::string>& environment) const {
  auto finished =
      run({.argv = reeve_argv(arguments, environment), .timeout = 180s, .output_limit = 16u << 20});
  if (!finished.ok())
    FAIL("reeve " << arguments[0] << ": " << finished.error().message() << "\nserver log:\n"
                  << server_log() << "\nagent log:\n"
                  << agent_log());
  return std::move(finished).value();
}

json Estate::reeve_json(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"-o", "json"});
  const auto finished = reeve(arguments);
  std::string line;
  for (const auto& argument : arguments) line += argument + " ";
  INFO("reeve " << line << "\n"
                << finished.errors << "\nserver log:\n"
                << server_log() << "\nagent log:\n"
                << agent_log());
  REQUIRE(finished.exit_code == 0);
  return json::parse(finished.output);
}

json Estate::vm(const std::string& name) const {
  for (auto& vm : reeve_json({"vm", "list"}))
    if (vm.value("display_name", "") == name) return vm;
  return nullptr;
}

void Estate::import_quick_guest() const {
  const GuestFiles guest = quick_guest();
  reeve_json({"image", "import", "kernel", guest.kernel, "--kind", "kernel"});
  reeve_json({"image", "import", "initrd", guest.initramfs, "--kind", "initrd"});
}

std::vector<std::string> Estate::create_arguments(const std::string& name) {
  return {"vm",
          "create",
          name,
          "--cpus",
          "1",
          "--memory",
          "256M",
          "--kernel",
          "kernel",
          "--initrd",
          "initrd",
          "--cmdline",
          "console=ttyS0 reboot=t panic=-1 reeve.net=none",
          "--disk",
          "64M",
          "--nic",
          "none",
          "--hypervisor",
          "qemu"};
}

std::string Estate::server_log() const {
  return tail_of(dir_ / "server.log");
}
std::string Estate::agent_log() const {
  return tail_of(dir_ / "agent.log");
}

std::string Estate::query(const std::string& sql) const {
  const std::string database = "file:" + (dir_ / "server/reeve.db").string() + "?mode=ro";
  return std::string(trim(run_checked({.argv = {"sqlite3", "-noheader", database, sql}}).value()));
}

void Estate::wait_until(const std::string& what, const std::function<bool()>& condition,
                        std::chrono::seconds limit) const {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      FAIL("not within " << limit.count() << " s: " << what << "\nserver log:\n"
                         << server_log() << "\nagent log:\n"
                         << agent_log());
    std::this_thread::sleep_for(100ms);
  }
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (const auto line : split(trim(text), '\n')) lines.emplace_back(line);
  return lines;
}

int times_in(const std::string& text, const std::string& part) {
  int times = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++times;
  return times;
}

}  // namespace reeve::test
