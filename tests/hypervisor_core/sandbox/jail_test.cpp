#include "hypervisor_core/sandbox/jail.h"

#include <cstddef>
#include <filesystem>

#include <catch2/catch.hpp>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/subprocess.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::sandbox {
namespace {

constexpr uid_t kUser = 54321;

bool can_run() {
  if (geteuid() == 0) return true;
  WARN("skipped: needs root");
  return false;
}

/// A listening UNIX socket, open to everybody.
Fd listener(const std::string& name, bool abstract) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + (abstract ? 1 : 0), sizeof address.sun_path - 2);
  const auto length = static_cast<socklen_t>(
      abstract ? offsetof(sockaddr_un, sun_path) + 1 + name.size() : sizeof address);
  REQUIRE(bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
  REQUIRE(listen(socket.get(), 4) == 0);
  return socket;
}

Finished probe(const std::filesystem::path& root, const std::vector<std::string>& more = {}) {
  const reeve::test::TempDir outside;
  REQUIRE(chmod(outside.path().c_str(), 0755) == 0);
  const auto path = (outside / "socket").string();
  const Fd by_path = listener(path, false);
  REQUIRE(chmod(path.c_str(), 0777) == 0);
  const std::string abstract = "reeve-jail-test-" + std::to_string(getpid());
  const Fd by_name = listener(abstract, true);
  std::vector<std::string> argv{
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "core_jail_probe",
      root.string(), std::to_string(kUser), path, abstract};
  argv.insert(argv.end(), more.begin(), more.end());
  auto done = run({.argv = argv});
  REQUIRE(done.ok());
  return done.value();
}

}  // namespace

TEST_CASE("from inside the jail there is no way out, on any thread", "[sandbox][root]") {
  if (!can_run()) return;
  const reeve::test::TempDir root;
  const auto done = probe(root.path());
  INFO(done.output << done.errors);
  CHECK(done.exit_code == 0);
  CHECK(done.output.find("missing") == std::string::npos);
  struct stat made {};
  REQUIRE(stat((root / "inside").c_str(), &made) == 0);
  CHECK(made.st_uid == kUser);
  struct stat folder {};
  REQUIRE(stat(root.path().c_str(), &folder) == 0);
  CHECK(folder.st_uid == 0);  // what the agent put there cannot be replaced
  CHECK((folder.st_mode & 07777) == 01770);
}

TEST_CASE("without the jail the same probe gets out, and says so", "[sandbox][root]") {
  if (!can_run()) return;
  const reeve::test::TempDir root;
  const std::vector<std::string> attempts{"open /etc/passwd",
                                          "open /proc/self/mem",
                                          "connect to a UNIX socket outside",
                                          "connect to an abstract socket outside",
                                          "TCP socket",
                                          "netlink socket",
                                          "UNIX socket",
                                          "exec from memory",
                                          "fork",
                                          "signal the parent",
                                          "pidfd",
                                          "chroot",
                                          "change groups",
                                          "executable memory",
                                          "core dumps",
                                          "personality"};
  std::vector<std::string> arguments{"--free"};
  arguments.insert(arguments.end(), attempts.begin(), attempts.end());
  const auto done = probe(root.path(), arguments);
  INFO(done.output << done.errors);
  CHECK(done.exit_code == 1);
  for (const auto& attempt : attempts)
    CHECK(done.output.find("WORKED free: " + attempt + " (") != std::string::npos);
  for (const char* control : {"KVM_CREATE_VM", "KVM_SET_USER_MEMORY_REGION", "UFFDIO_COPY",
                              "TUNSETIFF", "VHOST_SET_OWNER", "TIOCSTI", "BLKGETSIZE64"})
    CHECK(done.output.find("WORKED free: " + std::string(control) + " (Bad file descriptor)") !=
          std::string::npos);
  CHECK(done.output.find("FAILED") == std::string::npos);
  CHECK(done.output.find("UNCLEAR") == std::string::npos);
}

TEST_CASE("a process without root is jailed too, and says what it lacks", "[sandbox][root]") {
  if (!can_run()) return;
  const reeve::test::TempDir root;
  REQUIRE(chown(root.path().c_str(), kUser, kUser) == 0);
  const auto done = probe(root.path(), {"--drop"});
  INFO(done.output << done.errors);
  CHECK(done.exit_code == 0);
  CHECK(done.output.find("user namespace") != std::string::npos);
  CHECK(done.output.find("missing: own user (started as user 54321") != std::string::npos);
}

TEST_CASE("a link in place of the jail's folder is not followed (CVE-2026-1386)",
          "[sandbox][root]") {
  if (!can_run()) return;
  const reeve::test::TempDir dir;
  std::filesystem::create_directory_symlink("/", dir / "link");
  const auto done = probe(dir / "link");
  CHECK(done.exit_code == 99);
  CHECK(done.output.find("NO JAIL") != std::string::npos);
  CHECK(Jail::begin({.user = 0, .group = 0, .root = "/"}, {}).error().reason() == "JAIL_USER");
}

TEST_CASE("the warden hears how the jailed process ended, and ends likewise", "[sandbox][root]") {
  if (!can_run()) return;
  const reeve::test::TempDir root;
  int heard[2];
  REQUIRE(pipe(heard) == 0);
  const pid_t child = fork();
  if (child == 0) {
    Warden warden;
    warden.on_end = [&](int status) { (void)!write(heard[1], &status, sizeof status); };
    warden.keep = {heard[1]};
    auto jail = Jail::begin({.user = kUser, .group = kUser, .root = root.path().string()}, warden);
    if (!jail.ok() || !jail.value().close().ok()) _exit(99);
    signal(SIGILL, SIG_DFL);  // the test framework's
    __builtin_trap();
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGILL));
  int told = 0;
  REQUIRE(read(heard[0], &told, sizeof told) == sizeof told);
  CHECK((WIFSIGNALED(told) && WTERMSIG(told) == SIGILL));
}

}  // namespace reeve::core::sandbox
