// tests/testbed/libvirtd_test.cpp - the private libvirtd comes up, keeps guests over a crash,
// leaves nothing.
#include "tests/support/libvirtd.h"

#include <fstream>
#include <optional>

#include <catch2/catch.hpp>
#include <unistd.h>

#include "base/subprocess.h"

using reeve::test::Libvirtd;

namespace {

std::string guest_xml(const std::filesystem::path& dir) {
  const auto path = dir / "guest.xml";
  std::ofstream(path)
      << "<domain type='qemu'><name>g</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>"
         "<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>"
         "<devices><serial type='pty'/></devices></domain>";
  return path;
}

}  // namespace

TEST_CASE("two private libvirtds run a guest each and know nothing of the other") {
  const reeve::test::TempDir dir;
  const Libvirtd one;
  const Libvirtd two(Libvirtd::Network::Own);
  REQUIRE(one.uri() != two.uri());
  REQUIRE(one.virsh({"create", guest_xml(dir.path())}).exit_code == 0);
  CHECK(two.virsh({"domstate", "g"}).exit_code != 0);
  CHECK(two.virsh({"create", guest_xml(dir.path())}).exit_code == 0);
}

TEST_CASE("a guest goes on while its libvirtd crashes and returns") {
  const reeve::test::TempDir dir;
  const Libvirtd host;
  REQUIRE(host.virsh({"create", guest_xml(dir.path())}).exit_code == 0);
  host.kill();
  CHECK(host.virsh({"domstate", "g"}).exit_code != 0);
  host.bring_up();
  CHECK(host.virsh({"domstate", "g"}).output.find("running") == 0);
  host.restart();
  CHECK(host.virsh({"domstate", "g"}).output.find("running") == 0);
}

TEST_CASE("the end of a libvirtd reaches nobody in namespaces made meanwhile") {
  std::optional<Libvirtd> host(std::in_place);
  // One of them is given the number of the namespace that goes. The exit code: how many are gone.
  auto others = reeve::Process::spawn(
      {"bash", "-c",
       "for i in {1..150}; do unshare --mount sleep 60 & sleep 0.01; done; sleep 0.5; "
       "alive=($(jobs -rp)); kill -KILL \"${alive[@]}\"; exit $((150 - ${#alive[@]}))"},
      {}, reeve::Process::Session::Own);
  REQUIRE(others.ok());
  host.reset();
  const auto gone = others.value().wait(std::chrono::seconds(60));
  REQUIRE(gone.ok());
  CHECK(gone.value() == 0);
}
