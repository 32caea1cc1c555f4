// bench/core_bench.cpp - the own core on this machine's /dev/kvm with guests of a few instructions,
// QEMU microvm beside it: process start to the first guest instruction, memory, many idle machines.
//
// The guest writes a byte to the serial port first of all, so that its first instructions are seen
// from outside; then it halts. QEMU gets it as firmware at the reset vector, we as a Multiboot
// kernel.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include <unistd.h>

#include "base/subprocess.h"
#include "bench/console_process.h"
#include "tests/support/temp_dir.h"

namespace {

using namespace reeve;
using namespace reeve::bench;
namespace fs = std::filesystem;

// mov dx, 0x3f8; mov al, '!'; out dx, al; again: hlt; jmp again
constexpr std::array<unsigned char, 10> kReal{0xba, 0xf8, 0x03, 0xb0, 0x21,
                                              0xee, 0xf4, 0xeb, 0xfd, 0x90};
constexpr std::array<unsigned char, 11> kProtected{0x66, 0xba, 0xf8, 0x03, 0xb0, 0x21,
                                                   0xee, 0xf4, 0xeb, 0xfd, 0x90};

void write_firmware(const fs::path& path) {
  std::string image(65536, '\xf4');
  std::memcpy(&image[0xff00], kReal.data(), kReal.size());
  const int jump = 0xff00 - 0xfff3;
  image[0xfff0] = '\xe9';
  image[0xfff1] = static_cast<char>(jump & 0xff);
  image[0xfff2] = static_cast<char>((jump >> 8) & 0xff);
  std::ofstream(path, std::ios::binary) << image;
}

void write_kernel(const fs::path& path) {
  std::string image(4096, '\0');
  const std::uint32_t flags = 1u << 16;
  const std::array<std::uint32_t, 8> header{
      0x1badb002, flags, 0u - 0x1badb002 - flags, 0x100000, 0x100000, 0x101000, 0x102000, 0x100040};
  std::memcpy(image.data(), header.data(), sizeof header);
  std::memcpy(&image[0x40], kProtected.data(), kProtected.size());
  std::ofstream(path, std::ios::binary) << image;
}

double once(const std::vector<std::string>& argv) {
  ConsoleProcess machine(argv);
  return machine.wait_for("!", std::chrono::seconds(20));
}

void idle_machines(const std::vector<std::string>& argv, std::size_t count) {
  std::vector<std::unique_ptr<ConsoleProcess>> all;
  for (std::size_t i = 0; i < count; ++i) {
    all.push_back(std::make_unique<ConsoleProcess>(argv));
    all.back()->wait_for("!", std::chrono::seconds(60));
  }
  sleep(1);
  double before = 0, after = 0;
  std::uint64_t memory = 0;
  for (const auto& machine : all) {
    before += cpu_seconds(machine->pid());
    memory += overhead_kib(machine->pid());
  }
  sleep(10);
  for (const auto& machine : all) after += cpu_seconds(machine->pid());
  std::printf(
      "%zu idle machines: %.2f MiB each, %.2f %% of a core together"
      " (promise: under 12 MiB, under 1 %%)\n",
      count, static_cast<double>(memory) / 1024 / static_cast<double>(count),
      (after - before) * 10);
}

}  // namespace

int main() {
  const auto programs = fs::read_symlink("/proc/self/exe").parent_path();
  const test::TempDir dir;
  write_kernel(dir / "kernel");
  write_firmware(dir / "firmware");
  const std::vector<std::string> ours{programs / "reeve-vmm", "--kernel", dir / "kernel",
                                      "--memory", "16"};
  const std::vector<std::string> qemu{"qemu-system-x86_64",
                                      "-M",
                                      "microvm",
                                      "-accel",
                                      "kvm",
                                      "-nodefaults",
                                      "-no-reboot",
                                      "-display",
                                      "none",
                                      "-m",
                                      "16",
                                      "-serial",
                                      "stdio",
                                      "-bios",
                                      (dir / "firmware").string()};
  std::vector<double> mine, theirs;
  const int rounds = std::getenv("ROUNDS") ? std::atoi(std::getenv("ROUNDS")) : 31;
  for (int i = 0; i < rounds; ++i) {
    mine.push_back(once(ours));
    theirs.push_back(once(qemu));
  }
  std::printf(
      "process start to first guest instruction, median of %d: reeve-vmm %.1f ms, QEMU"
      " microvm %.1f ms, ratio %.2f (promise: under 30 ms, under 0.3)\n",
      rounds, median(mine), median(theirs), median(mine) / median(theirs));
  std::printf("best of %d: reeve-vmm %.1f ms, QEMU microvm %.1f ms\n", rounds,
              *std::min_element(mine.begin(), mine.end()),
              *std::min_element(theirs.begin(), theirs.end()));
  idle_machines(ours, 100);
  return 0;
}
