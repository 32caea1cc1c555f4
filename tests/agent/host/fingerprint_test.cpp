#include <filesystem>

#include <catch2/catch.hpp>

#include "agent/host/machine_probe.h"
#include "base/file.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace reeve::agent;
using reeve::test::TempDir;

namespace {

/// A machine made of files.
struct Machine {
  void put(const std::string& path, const std::string& content) const {
    const auto full = dir.path() / path;
    REQUIRE(make_dirs(full.parent_path()).ok());
    REQUIRE(write_file_durably(full, content).ok());
  }
  HostRoot root() const { return dir.path().string(); }
  TempDir dir;
};

std::string processor(int number, int socket, int core) {
  return "processor\t: " + std::to_string(number) +
         "\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon E\n" +
         "physical id\t: " + std::to_string(socket) + "\ncore id\t\t: " + std::to_string(core) +
         "\nflags\t\t: vmx fpu sse2\n\n";
}

}  // namespace

TEST_CASE("processors are counted by thread, core and socket", "[agent]") {
  Machine machine;
  std::string text;
  for (int i = 0; i < 8; ++i) text += processor(i, i / 4, i % 4 / 2);
  machine.put("proc/cpuinfo", text);
  const auto cpu = read_cpu(machine.root());
  CHECK(cpu.threads() == 8);
  CHECK(cpu.cores() == 4);
  CHECK(cpu.sockets() == 2);
  CHECK(cpu.model() == "Xeon E");
  REQUIRE(cpu.features_size() == 3);
  CHECK(cpu.features(0) == "fpu");
}

TEST_CASE("memory, cells, disks, nics and system are read", "[agent]") {
  Machine machine;
  machine.put("proc/meminfo", "MemTotal:  2097152 kB\nMemFree: 1 kB\nMemAvailable: 1048576 kB\n");
  machine.put("sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:  1048576 kB\n");
  machine.put("sys/devices/system/node/node0/cpulist", "0-3\n");
  machine.put("sys/devices/system/node/node10/meminfo", "Node 10 MemTotal:  1048576 kB\n");
  machine.put("sys/devices/system/node/possible", "0-10\n");
  machine.put("sys/block/sda/device/model", "DISK 9000  \n");
  machine.put("sys/block/sda/size", "2048\n");
  machine.put("sys/block/sda/queue/rotational", "1\n");
  machine.put("sys/block/loop0/size", "2048\n");
  machine.put("sys/class/net/lo/address", "00:00:00:00:00:00\n");
  machine.put("sys/class/net/br0/address", "52:54:00:00:00:01\n");
  machine.put("sys/class/net/br0/operstate", "up\n");
  machine.put("sys/class/net/br0/speed", "-1\n");
  machine.put("sys/class/net/br0/bridge/bridge_id", "8000\n");
  machine.put("sys/class/net/vnet3/address", "fe:54:00:00:00:01\n");
  machine.put("etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n");
  machine.put("proc/sys/kernel/osrelease", "6.1.0\n");
  MachineProbe probe(machine.root(), {});
  const auto host = probe.facts();
  CHECK(host.memory_mib() == 2048);
  REQUIRE(host.numa_nodes_size() == 2);
  CHECK(host.numa_nodes(0).cpus() == "0-3");
  CHECK(host.numa_nodes(1).id() == 10);
  REQUIRE(host.disks_size() == 1);
  CHECK(host.disks(0).model() == "DISK 9000");
  CHECK(host.disks(0).size_bytes() == 1 << 20);
  CHECK(host.disks(0).rotational());
  REQUIRE(host.nics_size() == 1);
  CHECK(host.nics(0).bridge());
  CHECK(host.nics(0).up());
  CHECK(host.nics(0).speed_mbps() == 0);
  CHECK(host.os() == "Debian GNU/Linux 12");
  CHECK(host.kernel() == "6.1.0");
  CHECK(probe.use().memory_used_mib() == 1024);
}

TEST_CASE("use of the processors is the share of busy ticks since the last look", "[agent]") {
  Machine machine;
  MachineProbe probe(machine.root(), {});
  machine.put("proc/stat", "cpu  100 0 100 800 0 0 0 0 50 0\ncpu0 1 2 3\n");
  CHECK(probe.use().cpu_basis_points() == 0);
  machine.put("proc/stat", "cpu  150 0 150 900 0 0 0 0 90 0\n");
  CHECK(probe.use().cpu_basis_points() == 5000);
}

TEST_CASE("a machine without files, or with garbage in them, is described by nothing", "[agent]") {
  Machine machine;
  CHECK(MachineProbe(machine.root(), {}).facts().disks_size() == 0);
  for (const char* path :
       {"proc/cpuinfo", "proc/meminfo", "proc/stat", "etc/os-release",
        "sys/devices/system/node/node0/meminfo", "sys/block/sda/size", "sys/class/net/x/speed"})
    machine.put(path, std::string("\xff\0:::= -99999999999999999999999 \n:", 34));
  MachineProbe probe(machine.root(), {});
  (void)probe.facts();
  (void)probe.use();
  CHECK(probe.facts().cpu().threads() == 0);
}

TEST_CASE("the machine at hand has a processor, memory and a boot", "[agent]") {
  MachineProbe probe(HostRoot{}, {});
  const auto host = probe.facts();
  CHECK(host.cpu().threads() > 0);
  CHECK(host.memory_mib() > 0);
  CHECK(host.boot_id().size() == 36);
}
