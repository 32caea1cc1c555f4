// tests/testbed/guest_test.cpp - the quick guest boots in plain QEMU, talks on its console, heeds
// the power button.
#include <chrono>
#include <csignal>
#include <fstream>
#include <optional>
#include <thread>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace std::chrono_literals;

namespace {

std::filesystem::path prepare(const std::string& name) {
  auto made = run_checked({.argv = {test::source_dir() / "tools/guest/prepare", name},
                           .timeout = std::chrono::minutes(3)});
  REQUIRE(made.ok());
  const auto text = std::move(made).value();
  return text.substr(0, text.find('\n'));
}

/// A guest under plain QEMU; its console and monitor are this side's pipes and files.
class Guest {
 public:
  explicit Guest(std::vector<std::string> machine) {
    const auto kernel = prepare("kernel");
    const auto initramfs = prepare("initramfs");
    std::vector<std::string> argv{"qemu-system-x86_64",
                                  "-accel",
                                  "tcg",
                                  "-m",
                                  "128",
                                  "-nodefaults",
                                  "-no-reboot",
                                  "-display",
                                  "none",
                                  "-kernel",
                                  kernel / "vmlinux",
                                  "-initrd",
                                  initramfs / "guest.cpio",
                                  "-chardev",
                                  "pipe,id=console,path=" + (dir_ / "console").string(),
                                  "-serial",
                                  "chardev:console",
                                  "-monitor",
                                  "stdio"};
    argv.insert(argv.end(), machine.begin(), machine.end());
    REQUIRE(::mkfifo((dir_ / "console.in").c_str(), 0600) == 0);
    std::ofstream(dir_ / "console.out");
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    monitor_ = Fd(ends[1]);
    console_ = std::move(open_file(dir_ / "console.in", O_RDWR)).value();
    process_ = std::move(Process::spawn(argv, {.input = ends[0]})).value();
    ::close(ends[0]);
  }
  ~Guest() {
    process_->signal(SIGKILL);
    static_cast<void>(process_->wait(10s));
  }

  std::string console() const { return std::move(read_file(dir_ / "console.out")).value(); }
  bool says(std::string_view text) const {
    for (int tries = 0; tries < 1200; ++tries) {
      if (console().find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(100ms);
    }
    return false;
  }
  void type(std::string_view line) const { write(console_, line); }
  void press_power_button() const { write(monitor_, "system_powerdown\n"); }
  Result<int> wait() { return process_->wait(60s); }

 private:
  static void write(const Fd& fd, std::string_view text) {
    REQUIRE(write_all(fd.get(), std::as_bytes(std::span(text))).ok());
  }

  test::TempDir dir_;
  Fd monitor_, console_;
  std::optional<Process> process_;
};

void boots_answers_and_powers_off(Guest& guest) {
  REQUIRE(guest.says("REEVE-GUEST UP "));
  CHECK(guest.says("REEVE-ADDRESS 10.0.2.15/24"));
  CHECK(guest.says("REEVE-MOUNTED /dev/vda"));
  guest.type("cat /mnt/hello.txt; false\n");
  CHECK(guest.says("hello from the disk"));
  CHECK(guest.says("REEVE-DONE 1"));
  CHECK(guest.says("REEVE-HEARTBEAT 2"));
  guest.press_power_button();
  const auto code = guest.wait();
  INFO(guest.console());
  CHECK(guest.says("REEVE-GUEST DOWN"));
  REQUIRE(code.ok());
  CHECK(code.value() == 0);
}

}  // namespace

TEST_CASE("the quick guest runs on QEMU's q35: network, partitioned disk, console, power button") {
  const auto disk = (prepare("disk") / "gpt.raw").string();
  Guest guest({"-M", "q35", "-append", "console=ttyS0 quiet panic=-1 reeve.mount=/dev/vda",  //
               "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net",             //
               "-drive", "file=" + disk + ",if=virtio,format=raw,snapshot=on"});
  boots_answers_and_powers_off(guest);
}

TEST_CASE("the quick guest runs on QEMU's microvm, its devices on virtio-mmio") {
  const auto disk = (prepare("disk") / "data.qcow2").string();
  // Under emulation microvm has no timer besides the TSC, and measuring that one fails on a busy
  // machine.
  Guest guest({"-M", "microvm", "-append",
               "console=ttyS0 quiet panic=-1 reeve.mount=/dev/vda tsc_early_khz=2000000",  //
               "-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net",        //
               "-drive", "file=" + disk + ",if=none,id=disk,format=qcow2,snapshot=on",     //
               "-device", "virtio-blk-device,drive=disk"});
  boots_answers_and_powers_off(guest);
}
