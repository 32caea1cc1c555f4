// tests/testbed/lab_test.cpp - the lab machine has a real KVM, carries files both ways and reports
// faithfully.
#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>

#include "base/subprocess.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

using namespace reeve;

namespace {

Finished lab(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), test::source_dir() / "tools/lab/run");
  const Command command{.argv = std::move(arguments), .timeout = std::chrono::minutes(9)};
  auto outcome = run(command);
  REQUIRE(outcome.ok());
  UNSCOPED_INFO(outcome.value().errors);
  return std::move(outcome).value();
}

}  // namespace

TEST_CASE("a guest of our own runs on the lab machine's KVM, whose timer repeats by itself") {
  const auto self = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  const auto finished = lab(
      {"--add", self / "kvm_payload", "--", "sh", "-ec",
       // Otherwise an interrupt that the emulation loses ends the lab: tools/lab/README.md.
       "sed -n '/Device: lapic/,/event_handler/p' /proc/timer_list | grep -q tick_handle_periodic;"
       "kvm_payload"});
  CHECK(finished.output == "ok");
  CHECK(finished.exit_code == 0);
}

TEST_CASE(
    "the lab passes on exit code, environment, arguments and both kinds of output, and fetches "
    "files") {
  const test::TempDir dir;
  const auto finished = lab(
      {"--get", "/tmp/made:" + dir.path().string(), "--env", "WORD=two words", "--", "sh", "-c",
       "echo \"$WORD\" \"$1\"; echo err >&2; mkdir /tmp/made; echo kept >/tmp/made/file; exit 7",
       "sh", "it's"});
  CHECK(finished.output == "two words it's\nerr\n");
  CHECK(finished.exit_code == 7);
  std::stringstream kept;
  kept << std::ifstream(dir / "made/file").rdbuf();
  CHECK(kept.str() == "kept\n");
}

TEST_CASE("programs in the lab can jail themselves: pivot_root, cgroups, user namespaces") {
  const auto finished =
      lab({"--", "sh", "-ec",
           "mkdir /tmp/root; mount -t tmpfs none /tmp/root; cd /tmp/root; mkdir old;"
           "unshare -m pivot_root . old; grep -q memory /sys/fs/cgroup/cgroup.subtree_control;"
           "unshare -Ur id -u"});
  CHECK(finished.output == "0\n");
  CHECK(finished.exit_code == 0);
}

TEST_CASE("a command that does not end is ended, with the code of timeout(1)") {
  CHECK(lab({"--timeout", "8", "--", "sleep", "1000"}).exit_code == 124);
}

TEST_CASE("unmodified Linux boots on the lab's KVM") {
  const auto finished =
      lab({"--timeout", "500", "--qemu", "--guest", "--", "sh", "-c",
           "qemu-system-x86_64 -M microvm -accel kvm -cpu host -m 128 -nodefaults -no-reboot "
           "-display none "
           "-serial stdio -kernel vmlinux -initrd guest.cpio "
           "-append 'console=ttyS0 quiet panic=-1 reboot=t reeve.then=poweroff'"});
  CHECK(finished.output.find("REEVE-GUEST UP") != std::string::npos);
  CHECK(finished.exit_code == 0);
}
