// bench/core_lab_bench.cpp - the own core and QEMU with real Linux guests, in the KVM lab
// (bench/core_lab.sh starts it there): time to init, memory, disk, network, save and restore,
// taking turns.
//
//   core_lab_bench [start|disk|net|save]...
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include <unistd.h>

#include "bench/console_process.h"
#include "bench/core_lab_save.h"

namespace {

using reeve::bench::ConsoleProcess;
using reeve::bench::give_up;
using reeve::bench::median;
using reeve::bench::overhead_kib;
using reeve::bench::save_and_restore;
using Arguments = std::vector<std::string>;

constexpr const char* kLine = "console=ttyS0 quiet panic=-1 reeve.heartbeat=0 ";
constexpr const char* kDisk = "/tmp/disk.raw";
constexpr std::uint64_t kDiskMib = 128;

enum class Vmm { Ours, Microvm, Q35 };

/// The same kernel, memory and devices for each.
Arguments machine(Vmm vmm, const std::string& line, bool disk, bool net) {
  if (vmm == Vmm::Ours) {
    Arguments a{"reeve-vmm", "--kernel",   "/lab/vmlinux", "--initrd", "/tmp/guest.cpio",
                "--append",  kLine + line, "--memory",     "256"};
    if (disk) a.insert(a.end(), {"--disk", kDisk});
    if (net) a.insert(a.end(), {"--tap", "tap0"});
    return a;
  }
  Arguments a{"qemu-system-x86_64",
              "-M",
              vmm == Vmm::Q35 ? "q35,memory-backend=ram" : "microvm,pcie=on,memory-backend=ram",
              "-object",
              "memory-backend-memfd,id=ram,size=256M",
              "-m",
              "256",
              "-accel",
              "kvm",
              "-cpu",
              "host",
              "-nodefaults",
              "-no-reboot",
              "-display",
              "none",
              "-serial",
              "stdio",
              "-kernel",
              "/lab/vmlinux",
              "-initrd",
              "/tmp/guest.cpio",
              "-append",
              kLine + line};
  if (disk)
    a.insert(a.end(), {"-drive", std::string("if=none,id=d,format=raw,file=") + kDisk, "-device",
                       "virtio-blk-pci,drive=d"});
  if (net)
    a.insert(a.end(), {"-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no,vhost=off",
                       "-device", "virtio-net-pci,netdev=n,romfile="});
  return a;
}

const char* name_of(Vmm vmm) {
  return vmm == Vmm::Ours ? "reeve-vmm" : vmm == Vmm::Microvm ? "QEMU microvm" : "QEMU q35";
}

int rounds() {
  const char* text = std::getenv("ROUNDS");
  return text != nullptr ? std::atoi(text) : 3;
}

/// Milliseconds of the guest's own clock when its kernel started init: what no monitor can save.
double own_boot(ConsoleProcess& guest) {
  const auto said = guest.run("dmesg | grep -m 1 'Run /init'");
  const auto at = said.rfind("[ ");
  return at == std::string::npos ? 0 : std::atof(said.c_str() + at + 1) * 1000;
}

void start() {
  std::map<Vmm, std::vector<double>> took, memory, own;
  for (int i = 0; i < rounds(); ++i)
    for (const Vmm vmm : {Vmm::Ours, Vmm::Microvm, Vmm::Q35}) {
      ConsoleProcess guest(machine(vmm, "reeve.net=none", false, false));
      took[vmm].push_back(guest.wait_for("REEVE-GUEST UP"));
      own[vmm].push_back(own_boot(guest));
      sleep(1);
      memory[vmm].push_back(static_cast<double>(overhead_kib(guest.pid())) / 1024);
    }
  for (auto& [vmm, times] : took)
    std::printf(
        "start call to guest init, %s: %.0f ms, of which its kernel's own %.0f ms, memory beyond "
        "the guest's %.1f MiB\n",
        name_of(vmm), median(times), median(own[vmm]), median(memory[vmm]));
  std::printf(
      "ratio of time to microvm %.2f (promise: under 1.0), to q35 %.2f (under 0.7);"
      " of memory to q35 %.2f (under 0.25)\n",
      median(took[Vmm::Ours]) / median(took[Vmm::Microvm]),
      median(took[Vmm::Ours]) / median(took[Vmm::Q35]),
      median(memory[Vmm::Ours]) / median(memory[Vmm::Q35]));
}

/// What KVM counts for all machines: "exits", "io_exits", ...
using Exits = std::map<std::string, double>;

Exits exits() {
  Exits counts;
  for (const auto* kind : {"exits", "io_exits", "mmio_exits", "halt_exits", "irq_exits",
                           "irq_window_exits", "request_irq_exits", "signal_exits", "pf_taken"})
    std::ifstream(std::string("/sys/kernel/debug/kvm/") + kind) >> counts[kind];
  return counts;
}

void disk() {
  std::ofstream(kDisk).close();
  std::filesystem::resize_file(kDisk, kDiskMib << 20);
  std::map<Vmm, std::vector<double>> rate, cost;
  std::map<Vmm, Exits> kinds;
  for (int i = 0; i < rounds(); ++i)
    for (const Vmm vmm : {Vmm::Ours, Vmm::Q35}) {
      ConsoleProcess guest(machine(vmm, "reeve.net=none", true, false));
      guest.wait_for("REEVE-GUEST UP");
      guest.run("dd if=/dev/vda of=/dev/null bs=1M count=16 iflag=direct 2>/dev/null");
      const Exits before = exits();
      const auto begin = std::chrono::steady_clock::now();
      guest.run(
          "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/vda of=/dev/null bs=1M iflag=direct "
          "2>/dev/null; done");
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
      constexpr double kRead = 8 * kDiskMib;
      for (const auto& [kind, count] : exits())
        kinds[vmm][kind] = (count - before.at(kind)) / kRead;
      cost[vmm].push_back(kinds[vmm]["exits"]);
      rate[vmm].push_back(kRead / time.count());
    }
  for (auto& [vmm, rates] : rate) {
    std::printf("sequential disk read, %s: %.1f MiB/s, %.2f exits per MiB (last round:",
                name_of(vmm), median(rates), median(cost[vmm]));
    for (const auto& [kind, count] : kinds[vmm]) std::printf(" %s %.2f", kind.c_str(), count);
    std::printf(")\n");
  }
  std::printf("ratio of throughput %.2f (promise: at least 1), of exits %.2f (at most 1)\n",
              median(rate[Vmm::Ours]) / median(rate[Vmm::Q35]),
              median(cost[Vmm::Ours]) / median(cost[Vmm::Q35]));
}

void net() {
  std::map<Vmm, std::vector<double>> out, in;
  for (int i = 0; i < rounds(); ++i)
    for (const Vmm vmm : {Vmm::Ours, Vmm::Q35}) {
      ConsoleProcess guest(machine(vmm, "reeve.net=10.9.0.2/24", false, true));
      guest.wait_for("REEVE-GUEST UP");
      const auto rate_of = [&](const char* verb) {
        const auto said = guest.run(std::string("probe ") + verb + " 10.9.0.1 7000 16");
        const auto at = said.find(" MiB/s");
        const auto begin = said.rfind('\n', at) + 1;
        return std::atof(said.substr(begin, at - begin).c_str());
      };
      (void)rate_of("send");
      out[vmm].push_back(rate_of("send"));
      in[vmm].push_back(rate_of("receive"));
    }
  for (auto& [vmm, rates] : out)
    std::printf("over tap, %s: guest to host %.1f MiB/s, host to guest %.1f MiB/s\n", name_of(vmm),
                median(rates), median(in[vmm]));
  std::printf("ratios %.2f and %.2f (promise: at least 1)\n",
              median(out[Vmm::Ours]) / median(out[Vmm::Q35]),
              median(in[Vmm::Ours]) / median(in[Vmm::Q35]));
}

void save() {
  save_and_restore(rounds());
}

}  // namespace

int main(int count, char** arguments) {
  const std::map<std::string, void (*)()> rows{
      {"start", start}, {"disk", disk}, {"net", net}, {"save", save}};
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  for (int i = 1; i < count; ++i) {
    const auto row = rows.find(arguments[i]);
    if (row == rows.end()) give_up(std::string("no row ") + arguments[i]);
    row->second();
  }
  return 0;
}
