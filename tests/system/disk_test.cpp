// Machines made from the library's disk images, on QEMU: what the guest sees of them, what is left
// of them when it is gone. The person is at a terminal, the host has a bridge.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/support/guest_files.h"
#include "tests/system/dialogue.h"
#include "tests/system/estate.h"

namespace reeve::test {
namespace {

using nlohmann::json;

/// Digests and paths of all image files in the agent's library.
std::string library_digests(const Estate& estate) {
  const auto images = (estate.dir() / "agent/images").string();
  return run_checked(
             {.argv = {"sh", "-c",
                       "find '" + images + "' -type f ! -name '*.pb' | sort | xargs -r sha256sum"}})
      .value();
}

/// What the guest's shell answers to a line. The console must be attached and the guest be up.
std::string answer(Dialogue& console, const std::string& line) {
  const auto before = console.heard().size();
  console.type(line + "\r");
  const bool answered = console.hears("REEVE-DONE 0");
  INFO(console.heard().substr(before));
  REQUIRE(answered);
  return console.heard().substr(before);
}

/// A network of the test process and all it starts, with loopback up, until the object ends.
class OwnNetwork {
 public:
  OwnNetwork() {
    REQUIRE(::unshare(CLONE_NEWNET | CLONE_NEWNS) == 0);
    // /sys shows the network of who mounted it.
    shell("mount --make-rprivate / && mount -t sysfs sysfs /sys && ip link set lo up");
  }
  ~OwnNetwork() {
    ::setns(network_.get(), CLONE_NEWNET);
    ::setns(mounts_.get(), CLONE_NEWNS);
    [[maybe_unused]] const int done = ::fchdir(folder_.get());  // setns() has changed it
  }
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;

  static std::string shell(const std::string& line) {
    return run_checked({.argv = {"sh", "-c", line}}).value();
  }

 private:
  const Fd network_ = open_file("/proc/self/ns/net", O_RDONLY).value();
  const Fd mounts_ = open_file("/proc/self/ns/mnt", O_RDONLY).value();
  const Fd folder_ = open_file(".", O_RDONLY | O_DIRECTORY).value();
};

TEST_CASE("a machine boots from a library image, and the image stays as it was", "[system][root]") {
  const GuestDisks disks = guest_disks();
  const auto data = std::filesystem::canonical(disks.data);  // the agent follows no links
  Estate estate{"import_dirs = [\"" + data.parent_path().string() + "\"]\n"};
  estate.reeve_json(
      {"image", "import", "quick", disks.bootable, "--kind", "disk", "--format", "qcow2"});
  estate.reeve_json({"image", "import", "data", "--host-path", data.string(), "--kind", "disk",
                     "--format", "raw"});
  const auto before = library_digests(estate);
  const auto user_data = (estate.dir() / "user.yaml").string();
  REQUIRE(write_file_durably(user_data, "#cloud-config\nhostname: reeve-seed-4711\n").ok());

  // The line of the handbook, without a name or a kernel.
  const auto job =
      estate.reeve_json({"vm", "create", "--image", "quick", "--image", "data,96M", "--cpus", "1",
                         "--memory", "256M", "--cloud-init", user_data, "--start"});
  const auto name = job.at("target_display_name").get<std::string>();
  CHECK(name.starts_with("quick-"));
  CHECK(estate.vm(name).at("spec").at("hypervisor") == "qemu");

  Dialogue console(estate.reeve_argv({"vm", "console", name}), Dialogue::On::Terminal);
  REQUIRE(console.hears("REEVE-MOUNTED /dev/vda1"));
  REQUIRE(console.hears("REEVE-GUEST UP"));
  CHECK_FALSE(console.is_line_mode());
  CHECK(answer(console, "cat /mnt/hello.txt").find("hello from the disk") != std::string::npos);
  answer(console, "echo kept-4712 >/mnt/new.txt && sync");
  // The second image with its new size, the seed behind both.
  CHECK(answer(console, "cat /sys/block/vdb/size").find("196608") != std::string::npos);
  CHECK(answer(console, "mkdir /tmp/b && mount -t ext4 /dev/vdb /tmp/b && cat /tmp/b/hello.txt")
            .find("hello from the disk") != std::string::npos);
  answer(console, "echo more >/tmp/b/more.txt && umount /tmp/b");
  // The volume's name in the descriptor of ISO 9660.
  CHECK(answer(console, "dd if=/dev/vdc bs=1 skip=32808 count=6 2>/dev/null").find("cidata") !=
        std::string::npos);
  CHECK(answer(console, "grep -o 'reeve-seed-[0-9]*' /dev/vdc").find("reeve-seed-4711") !=
        std::string::npos);

  estate.reeve_json({"vm", "reboot", name, "--force"});
  REQUIRE(console.hears("REEVE-GUEST UP"));
  CHECK(answer(console, "cat /mnt/new.txt").find("kept-4712") != std::string::npos);
  console.type("\x1d");
  CHECK(console.wait() == 0);
  CHECK(console.is_line_mode());

  CHECK(estate.reeve({"-o", "json", "image", "delete", "quick", "--yes"}).exit_code == 4);
  const auto guests = estate.dir() / "agent/guests";
  CHECK_FALSE(std::filesystem::is_empty(guests));
  estate.reeve_json({"vm", "delete", name, "--force", "--yes"});
  CHECK(std::filesystem::is_empty(guests));
  CHECK(library_digests(estate) == before);
  CHECK(times_in(before, "\n") == 2);
  estate.reeve_json({"image", "delete", "quick", "--yes"});
  estate.reeve_json({"image", "delete", "data", "--yes"});
  CHECK(library_digests(estate).empty());
}

TEST_CASE("a machine reaches its host through a named bridge", "[system][root]") {
  const GuestFiles guest = quick_guest();  // before the network goes
  const OwnNetwork network;
  OwnNetwork::shell(
      "ip link add reeve-br0 type bridge && ip addr add 10.77.0.1/24 dev reeve-br0 && "
      "ip link set reeve-br0 up");
  Estate estate{"bridges = [\"reeve-br0\"]\n"};
  estate.import_quick_guest();
  auto create = Estate::create_arguments("web");
  for (auto& argument : create) {
    if (argument.find("reeve.net=none") == std::string::npos) continue;
    argument = "console=ttyS0 reboot=t panic=-1 reeve.heartbeat=0 reeve.net=10.77.0.2/24";
  }
  *(std::find(create.begin(), create.end(), "--nic") + 1) = "reeve-br0,52:54:00:77:00:02";
  create.push_back("--start");
  estate.reeve_json(create);
  Dialogue console(estate.reeve_argv({"vm", "console", "web"}), Dialogue::On::Terminal);
  REQUIRE(console.hears("REEVE-GUEST UP"));
  CHECK(answer(console, "ping -c 1 -w 20 10.77.0.1").find(" 0% packet loss") != std::string::npos);
  CHECK(OwnNetwork::shell("ip neigh show dev reeve-br0").find("52:54:00:77:00:02") !=
        std::string::npos);
  estate.reeve_json({"vm", "delete", "web", "--force", "--yes"});
  CHECK(OwnNetwork::shell("ip link show master reeve-br0").empty());

  *(std::find(create.begin(), create.end(), "reeve-br0,52:54:00:77:00:02")) = "other0";
  const auto refused = estate.reeve(create);
  CHECK(refused.exit_code == 1);
  CHECK(refused.errors.find("has no bridge 'other0'") != std::string::npos);
}

}  // namespace
}  // namespace reeve::test
