#include "hypervisor_core/sandbox/sandbox.h"

#include <fstream>
#include <functional>
#include <thread>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp_dir.h"

namespace reeve::core::sandbox {
namespace {

constexpr uid_t kUser = 54321;

/// Runs `attempt` in a jailed child; its result is the child's exit code, 99 when the jail could
/// not be built.
int in_jail(const std::filesystem::path& root, const std::function<int()>& attempt) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (!enter_jail({.uid = kUser, .gid = kUser, .root = root.string()}).ok()) _exit(99);
    _exit(attempt());
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool can_run() {
  if (geteuid() == 0) return true;
  WARN("skipped: needs root");
  return false;
}

int refused(bool happened) {
  return !happened && (errno == EPERM || errno == ENOENT || errno == EACCES) ? 0 : 1;
}

}  // namespace

TEST_CASE("inside the jail there is no way out", "[sandbox][root]") {
  if (!can_run()) return;
  const test::TempDir dir;
  CHECK(in_jail(dir.path(), [] { return refused(open("/etc/passwd", O_RDONLY) >= 0); }) == 0);
  CHECK(in_jail(dir.path(), [] { return refused(open("/proc/self/mem", O_RDWR) >= 0); }) == 0);
  CHECK(in_jail(dir.path(), [] { return refused(open("../../etc/passwd", O_RDONLY) >= 0); }) == 0);
  CHECK(in_jail(dir.path(), [] {
          char* const arguments[] = {nullptr};
          return refused(execv("/bin/true", arguments) == 0);
        }) == 0);
  CHECK(in_jail(dir.path(), [] { return refused(fork() >= 0); }) == 0);
  CHECK(in_jail(dir.path(), [] { return refused(socket(AF_INET, SOCK_STREAM, 0) >= 0); }) == 0);
  CHECK(in_jail(dir.path(), [] { return refused(socket(AF_PACKET, SOCK_RAW, 0) >= 0); }) == 0);
  CHECK(in_jail(dir.path(), [] {
          return refused(ptrace(PTRACE_ATTACH, getppid(), nullptr, nullptr) == 0);
        }) == 0);
  CHECK(in_jail(dir.path(), [] { return refused(kill(getppid(), 0) == 0); }) == 0);
  CHECK(in_jail(dir.path(), [] { return refused(setresuid(0, 0, 0) == 0); }) == 0);
  CHECK(in_jail(dir.path(), [] { return refused(chroot("/") == 0); }) == 0);
  CHECK(in_jail(dir.path(), [] { return refused(unlink("/etc/passwd") == 0); }) == 0);
}

TEST_CASE("inside the jail the run directory, threads and memory still work", "[sandbox][root]") {
  if (!can_run()) return;
  const test::TempDir dir;
  CHECK(in_jail(dir.path(), [] {
          int sum = 0;
          std::thread thread([&] { sum = 7; });
          thread.join();
          const int file = open("/exit.pb", O_WRONLY | O_CREAT | O_EXCL, 0600);
          return sum == 7 && file >= 0 && write(file, "x", 1) == 1 && geteuid() == kUser ? 0 : 1;
        }) == 0);
  CHECK(std::filesystem::exists(dir / "exit.pb"));
}

TEST_CASE("a vCPU thread cannot even open files or start threads", "[sandbox][root]") {
  if (!can_run()) return;
  const test::TempDir dir;
  CHECK(in_jail(dir.path(), [] {
          int bad = 0;
          std::thread thread([&] {
            if (!filter_vcpu_thread().ok()) bad = 10;
            if (open("/file", O_WRONLY | O_CREAT, 0600) >= 0) bad += 1;
            if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0) bad += 2;
          });
          thread.join();
          if (open("/file", O_WRONLY | O_CREAT, 0600) < 0) bad += 4;  // the others still can
          return bad;
        }) == 0);
}

TEST_CASE("a link in place of the jail's folder is not followed (CVE-2026-1386)",
          "[sandbox][root]") {
  if (!can_run()) return;
  const test::TempDir dir;
  std::filesystem::create_directory_symlink("/", dir / "link");
  CHECK(in_jail(dir / "link", [] { return 0; }) == 99);
  CHECK(enter_jail({.uid = 0, .gid = 0, .root = "/"}).error().reason() == "JAIL_USER");
}

}  // namespace reeve::core::sandbox
