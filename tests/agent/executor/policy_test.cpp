// What a hostile server may send.
#include "agent/executor/policy.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "base/uuid.h"

using namespace reeve;
using namespace reeve::agent;
namespace av1 = reeve::agent::v1;

namespace {

const std::string kUid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

Policy policy() {
  Policy out;
  out.hypervisors = {"qemu"};
  out.bridges = {"br0"};
  return out;
}

av1::GuestSpec spec() {
  av1::GuestSpec out;
  out.set_uid(kUid);
  out.set_display_name("web-1");
  out.set_hypervisor("qemu");
  out.set_cpus(2);
  out.set_memory_mib(512);
  auto& disk = *out.add_disks();
  disk.set_id("disk0");
  disk.set_format(reeve::v1::DISK_FORMAT_QCOW2);
  disk.set_size_bytes(1 << 30);
  auto& nic = *out.add_nics();
  nic.set_id("nic0");
  nic.set_mac("52:54:00:00:00:01");
  return out;
}

std::string reason_of(const av1::GuestSpec& guest) {
  av1::Action action;
  *action.mutable_define_guest()->mutable_spec() = guest;
  const auto valid = validate_action(action, policy());
  return valid.ok() ? "" : std::string(valid.error().reason());
}

template <class Change>
std::string reason_with(Change change) {
  auto guest = spec();
  change(guest);
  return reason_of(guest);
}

}  // namespace

TEST_CASE("an ordinary guest is allowed", "[agent]") {
  CHECK(reason_of(spec()).empty());
  CHECK(reason_with([](auto& g) { g.mutable_nics(0)->set_bridge("br0"); }).empty());
  CHECK(reason_with([](auto& g) {
          g.mutable_limits()->set_memory_limit_mib(g.memory_mib() + 128);
        }).empty());
  CHECK(reason_with([](auto& g) { g.set_display_name("Büro <&\"'> 東京 \u202e"); }).empty());
}

TEST_CASE("a guest with anything impossible is refused by the name of what is wrong", "[agent]") {
  CHECK(reason_with([](auto& g) { g.set_uid("../../etc"); }) == "BAD_UID");
  CHECK(reason_with([](auto& g) { g.set_hypervisor("../x"); }) == "HYPERVISOR_NOT_FOUND");
  CHECK(reason_with([](auto& g) { g.set_display_name(""); }) == "BAD_NAME");
  CHECK(reason_with([](auto& g) { g.set_display_name("a\nb"); }) == "BAD_NAME");
  CHECK(reason_with([](auto& g) { g.set_display_name(std::string(129, 'a')); }) == "BAD_NAME");
  CHECK(reason_with([](auto& g) { g.set_cpus(0); }) == "BAD_GUEST");
  CHECK(reason_with([](auto& g) { g.set_cpus(-1); }) == "BAD_GUEST");
  CHECK(reason_with([](auto& g) { g.set_memory_mib(std::int64_t{1} << 60); }) == "BAD_GUEST");
  CHECK(reason_with([](auto& g) { g.mutable_limits()->set_cpu_weight(-1); }) == "BAD_GUEST");
  CHECK(reason_with([](auto& g) { g.mutable_limits()->set_cpu_weight(10'001); }) == "BAD_GUEST");
  CHECK(reason_with([](auto& g) { g.mutable_limits()->set_cpu_limit_percent(-1); }) == "BAD_GUEST");
  CHECK(reason_with([](auto& g) {
          g.mutable_limits()->set_memory_limit_mib(g.memory_mib() + 127);
        }) == "BAD_GUEST");
  CHECK(reason_with([](auto& g) { g.set_kernel_image("/boot/vmlinuz"); }) == "BAD_UID");
  CHECK(reason_with([](auto& g) { g.set_command_line("x"); }) == "BAD_GUEST");
  CHECK(reason_with([](auto& g) {
          g.set_kernel_image(kUid);
          g.set_command_line("a\nb");
        }) == "BAD_GUEST");
  CHECK(reason_with([](auto& g) { g.mutable_disks(0)->set_id("../d"); }) == "BAD_DISK");
  CHECK(reason_with([](auto& g) { *g.add_disks() = g.disks(0); }) == "BAD_DISK");
  CHECK(reason_with([](auto& g) { g.mutable_disks(0)->set_image("/etc/shadow"); }) == "BAD_UID");
  CHECK(reason_with([](auto& g) { g.mutable_disks(0)->set_size_bytes(1); }) == "BAD_DISK");
  CHECK(reason_with([](auto& g) { g.mutable_disks(0)->set_size_bytes(-512); }) == "BAD_DISK");
  CHECK(reason_with([](auto& g) { g.mutable_disks(0)->set_size_bytes(INT64_MAX); }) == "BAD_DISK");
  CHECK(reason_with([](auto& g) {
          for (int i = 0; i < 17; ++i) {
            *g.add_disks() = g.disks(0);
            g.mutable_disks(i + 1)->set_id("d" + std::to_string(i));
          }
        }) == "BAD_DISK");
  CHECK(reason_with([](auto& g) { g.mutable_nics(0)->set_mac("01:00:5e:00:00:01"); }) == "BAD_NIC");
  CHECK(reason_with([](auto& g) { g.mutable_nics(0)->set_mac("52:54:00:00:00:0'"); }) == "BAD_NIC");
  CHECK(reason_with([](auto& g) { g.mutable_nics(0)->set_bridge("br0,x"); }) == "BAD_NIC");
  CHECK(reason_with([](auto& g) { g.mutable_nics(0)->set_bridge("br1"); }) == "BRIDGE_REFUSED");
  CHECK(reason_with([](auto& g) { g.mutable_seed()->set_user_data(std::string(10 << 20, 'x')); }) ==
        "BAD_SEED");
}

TEST_CASE("imports and waits are held to their limits", "[agent]") {
  av1::Action action;
  auto& import = *action.mutable_import_image();
  import.set_uid(kUid);
  import.set_kind(reeve::v1::Image::KIND_KERNEL);
  const auto reason = [&] {
    const auto valid = validate_action(action, policy());
    return valid.ok() ? std::string() : std::string(valid.error().reason());
  };
  CHECK(reason() == "BAD_ACTION");
  import.set_host_path("relative");
  CHECK(reason() == "BAD_PATH");
  import.set_host_path(std::string("/a\0b", 4));
  CHECK(reason() == "BAD_PATH");
  import.set_host_path("/images/vmlinuz");
  CHECK(reason().empty());
  import.set_sha256("zz");
  CHECK(reason() == "BAD_DIGEST");
  import.clear_sha256();
  import.mutable_upload()->set_ticket("t");
  import.mutable_upload()->set_size_bytes(-1);
  CHECK(reason() == "BAD_ACTION");
  action.mutable_stop_guest()->set_uid(kUid);
  action.mutable_stop_guest()->set_hypervisor("qemu");
  action.mutable_stop_guest()->set_grace_ms(-1);
  CHECK(reason() == "BAD_ACTION");
}

TEST_CASE("keys of steps have one form", "[agent]") {
  for (const auto& good : {kUid + "/0", kUid + "/12", kUid + "/3u"}) CHECK(validate_key(good).ok());
  for (const auto& bad : {std::string(), kUid, kUid + "/", kUid + "/u", kUid + "/1x", kUid + "/-1",
                          kUid + "/1234567", "x" + kUid + "/1", kUid + "/1\n"})
    CHECK_FALSE(validate_key(bad).ok());
}

TEST_CASE("random bytes as an action never get past the policy harmfully", "[agent]") {
  SeededRandom random(42);
  av1::Action whole;
  *whole.mutable_prepare_guest()->mutable_spec() = spec();
  whole.mutable_prepare_guest()->mutable_spec()->mutable_seed()->set_user_data("#cloud-config");
  const std::string valid = whole.SerializeAsString();
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = valid;
    for (auto flips = random.below(4) + 1; flips > 0; --flips)
      bytes[random.below(bytes.size())] = static_cast<char>(random.below(256));
    if (random.below(4) == 0) bytes.resize(random.below(bytes.size()));
    av1::Action action;
    if (!action.ParseFromString(bytes)) continue;
    if (!validate_action(action, policy()).ok()) continue;
    ++accepted;
    // What is accepted can only name things by uid, and only known hypervisors and bridges.
    CHECK(is_uuid(subject_of(action).substr(subject_of(action).find('/') + 1)));
    const auto& guest = action.prepare_guest().spec();
    for (const auto& disk : guest.disks()) CHECK((disk.image().empty() || is_uuid(disk.image())));
    for (const auto& nic : guest.nics()) CHECK((nic.bridge().empty() || nic.bridge() == "br0"));
  }
  CHECK(accepted > 0);
}
