// tests/agent/driver/libvirt_xml_test.cpp - definitions written, read and changed, without any
// hypervisor.
#include <catch2/catch.hpp>

#include "agent/driver/libvirt/domain_edit.h"
#include "agent/driver/libvirt/domain_facts.h"
#include "agent/driver/libvirt/domain_xml.h"
#include "base/text.h"

using namespace reeve;
using namespace reeve::agent;
using namespace reeve::agent::libvirt;

namespace {

GuestDefinition web() {
  GuestDefinition guest{.uid = "11111111-2222-4333-8444-555555555555",
                        .display_name = "web",
                        .cpus = 2,
                        .memory_mib = 512};
  guest.disks = {{.id = "disk0",
                  .path = "/vm/web/disk0.qcow2",
                  .backing_path = "/images/debian.raw",
                  .backing_format = DiskFormat::Raw}};
  guest.nics = {{.id = "nic0", .mac = "52:54:00:00:00:01"}};
  guest.run_dir = "/run/reeve/web";
  return guest;
}

pugi::xml_document domain_of(const GuestDefinition& guest) {
  return new_domain(guest, {.domain_type = "qemu", .name = guest.display_name});
}

pugi::xml_document parsed(const std::string& xml) {
  auto document = parse_domain(xml);
  REQUIRE(document.ok());
  return std::move(document).value();
}

DomainFacts facts_of(const pugi::xml_document& document) {
  return read_domain_facts(to_text(document)).value();
}

/// As others left it: their device, their metadata, their namespace.
pugi::xml_document with_foreign_parts(const GuestDefinition& guest) {
  auto document = domain_of(guest);
  auto domain = document.child("domain");
  domain.append_attribute("xmlns:qemu") = "http://libvirt.org/schemas/domain/qemu/1.0";
  auto argument = domain.append_child("qemu:commandline").append_child("qemu:arg");
  argument.append_attribute("value") = "-foo";
  auto theirs = domain.child("metadata").append_child("x:note");
  theirs.append_attribute("xmlns:x") = "urn:somebody";
  theirs.text().set("keep me");
  auto watchdog = domain.child("devices").append_child("watchdog");
  watchdog.append_attribute("model") = "itco";
  return document;
}

}  // namespace

TEST_CASE("every disk names its format and the end of its chain", "[libvirt]") {
  auto guest = web();
  guest.disks.push_back({.id = "disk1", .path = "/vm/web/disk1.raw", .format = DiskFormat::Raw});
  guest.seed_path = "/vm/web/seed.iso";
  const auto document = domain_of(guest);
  const auto disks = document.child("domain").child("devices").children("disk");
  std::vector<pugi::xml_node> all(disks.begin(), disks.end());
  REQUIRE(all.size() == 3);
  for (const auto& disk : all) {
    CHECK_FALSE(std::string(disk.child("driver").attribute("type").value()).empty());
    CHECK(disk.child("backingStore"));
  }
  const auto backing = all[0].child("backingStore");
  CHECK(std::string(backing.child("format").attribute("type").value()) == "raw");
  CHECK(std::string(backing.child("source").attribute("file").value()) == "/images/debian.raw");
  CHECK(backing.child("backingStore"));
  CHECK_FALSE(all[1].child("backingStore").first_child());
  CHECK(all[2].child("readonly"));
  CHECK(std::string(all[2].child("serial").text().get()) == kSeedId);
  CHECK(std::string(all[2].child("target").attribute("dev").value()) == "vdc");
}

TEST_CASE("text from users cannot break out of its element", "[libvirt]") {
  auto guest = web();
  guest.display_name = "</title><devices/>&\"'";
  guest.kernel_path = "/k";
  guest.command_line = "root=\"/dev/vda\" a<b>&amp;";
  const auto document = parsed(to_text(domain_of(guest)));
  const auto domain = document.child("domain");
  CHECK(std::string(domain.child("title").text().get()) == guest.display_name);
  CHECK(std::string(domain.child("os").child("cmdline").text().get()) == guest.command_line);
  const auto devices = domain.children("devices");
  CHECK(std::distance(devices.begin(), devices.end()) == 1);
}

TEST_CASE("what is written is read back", "[libvirt]") {
  const auto facts = facts_of(domain_of(web()));
  CHECK(facts.managed);
  CHECK(facts.digest == digest_of(web()));
  CHECK(facts.cpus == 2);
  CHECK(facts.memory_mib == 512);
  CHECK(facts.serial_path == "/run/reeve/web/serial.sock");
  CHECK(facts.serial_log == "/run/reeve/web/serial.log");
  CHECK_FALSE(facts.has_agent_channel);
}

TEST_CASE("the digest sees every field and no field boundary", "[libvirt]") {
  const auto base = digest_of(web());
  auto changed = web();
  changed.disks[0].read_only = true;
  CHECK(digest_of(changed) != base);
  auto left = web();
  left.kernel_path = "ab";
  auto right = web();
  right.kernel_path = "a";
  right.initrd_path = "b";
  CHECK(digest_of(left) != digest_of(right));
}

TEST_CASE("definitions libvirt would choke on are refused beforehand", "[libvirt]") {
  auto guest = web();
  CHECK(check_definition(guest).ok());
  guest.run_dir = std::string(100, 'x');
  CHECK(check_definition(guest).error().reason() == "GUEST_INVALID");
  guest = web();
  guest.disks[0].path = "/a\nb";
  CHECK_FALSE(check_definition(guest).ok());
  guest = web();
  guest.command_line = "\xff\xfe";
  CHECK_FALSE(check_definition(guest).ok());
  guest = web();
  guest.disks[0].id = std::string(21, 'd');
  CHECK_FALSE(check_definition(guest).ok());
}

TEST_CASE("domain names are what libvirt takes, and never empty", "[libvirt]") {
  CHECK(domain_name_for("web") == "web");
  CHECK(domain_name_for("a/b\nc") == "a-b-c");
  CHECK(domain_name_for("") == "guest");
  CHECK(domain_name_for("..") == "guest");
  CHECK(domain_name_for("\xff\xff") == "guest");
  const auto name = domain_name_for(std::string(119, 'a') + "ü" + "tail");
  CHECK(name.size() <= 120);
  CHECK(is_utf8(name));
  CHECK(domain_name_for("web", web().uid) == "web-11111111");
}

TEST_CASE("disk targets go on after z", "[libvirt]") {
  CHECK(disk_target(0) == "vda");
  CHECK(disk_target(25) == "vdz");
  CHECK(disk_target(26) == "vdaa");
  CHECK(disk_target(701) == "vdzz");
  CHECK(disk_target(702) == "vdaaa");
}

TEST_CASE("hostile definitions are errors or harmless facts, never more", "[libvirt]") {
  CHECK_FALSE(read_domain_facts("").ok());
  CHECK_FALSE(read_domain_facts("<domain").ok());
  CHECK_FALSE(read_domain_facts("<other/>").ok());
  CHECK_FALSE(read_domain_facts(std::string(5u << 20, ' ')).ok());
  CHECK_FALSE(read_domain_facts(std::string("<domain>\0</domain>", 18)).ok());
  std::string deep = "<domain>";
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  CHECK_FALSE(read_domain_facts(deep).ok());
  std::string nested = "<domain>";
  for (int i = 0; i < 100; ++i) nested += "<a>";
  for (int i = 0; i < 100; ++i) nested += "</a>";
  CHECK_FALSE(read_domain_facts(nested + "</domain>").ok());
  const auto facts = read_domain_facts(
      "<!DOCTYPE domain [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>"
      "<domain><name>&b;\x1b[31m\xff</name><vcpu>99999999999999999999</vcpu>"
      "<memory unit='TiB'>18446744073709551615</memory></domain>");
  if (facts.ok()) {
    CHECK(is_utf8(facts.value().name));
    CHECK(facts.value().name.find('\x1b') == std::string::npos);
    CHECK(facts.value().cpus <= 1 << 20);
    CHECK(facts.value().memory_mib >= 0);
  }
  const auto odd = read_domain_facts("<domain><vcpu>-3</vcpu><memory>x</memory></domain>");
  REQUIRE(odd.ok());
  CHECK(odd.value().cpus == 0);
  CHECK(odd.value().memory_mib == 0);
}

TEST_CASE("a definition cut at any byte is an error or a whole one", "[libvirt]") {
  const auto text = to_text(domain_of(web()));
  for (std::size_t length = 0; length < text.size(); ++length)
    CHECK_FALSE(read_domain_facts(text.substr(0, length)).ok());
}

TEST_CASE("memory is understood in every unit", "[libvirt]") {
  const auto mib = [](const std::string& memory) {
    return read_domain_facts("<domain>" + memory + "</domain>").value().memory_mib;
  };
  CHECK(mib("<memory>1048576</memory>") == 1024);
  CHECK(mib("<memory unit='b'>1048576</memory>") == 1);
  CHECK(mib("<memory unit='MiB'>7</memory>") == 7);
  CHECK(mib("<memory unit='G'>2</memory>") == 2048);
  CHECK(mib("<memory unit='TiB'>1</memory>") == 1 << 20);
  CHECK(mib("<memory unit='MB'>1049</memory>") == 1000);
}

TEST_CASE("a mark is ours by its namespace, whatever the prefix", "[libvirt]") {
  const auto managed = [](const std::string& metadata) {
    return read_domain_facts("<domain><metadata>" + metadata + "</metadata></domain>")
        .value()
        .managed;
  };
  CHECK(managed("<reeve:guest xmlns:reeve='urn:reeve:guest:1'/>"));
  CHECK(managed("<x:guest xmlns:x='urn:reeve:guest:1'/>"));
  CHECK(managed("<guest xmlns='urn:reeve:guest:1'/>"));
  CHECK_FALSE(managed("<reeve:guest xmlns:reeve='urn:other'/>"));
  CHECK_FALSE(managed("<guest/>"));
}

TEST_CASE("a patch that changes nothing changes nothing", "[libvirt]") {
  const auto before = with_foreign_parts(web());
  pugi::xml_document wanted;
  wanted.reset(before);
  patch_domain(wanted, web(), {});
  CHECK(canonical_parts(wanted) == canonical_parts(before));
}

TEST_CASE("a patch changes what is ours and leaves what is not", "[libvirt]") {
  const auto before = with_foreign_parts(web());
  auto guest = web();
  guest.cpus = 4;
  guest.memory_mib = 1024;
  guest.display_name = "web-2";
  guest.disks.push_back({.id = "disk1", .path = "/vm/web/disk1.raw", .format = DiskFormat::Raw});
  guest.nics = {{.id = "nic1", .mac = "52:54:00:00:00:02", .bridge = "br0"}};
  guest.run_dir = "/run/reeve/moved";
  guest.guest_agent = true;
  pugi::xml_document wanted;
  wanted.reset(before);
  patch_domain(wanted, guest, {});
  const auto facts = facts_of(wanted);
  CHECK(facts.cpus == 4);
  CHECK(facts.memory_mib == 1024);
  CHECK(facts.title == "web-2");
  CHECK(facts.name == "web");
  CHECK(facts.has_agent_channel);
  CHECK(facts.serial_path == "/run/reeve/moved/serial.sock");
  const auto text = to_text(wanted);
  CHECK(text.find("keep me") != std::string::npos);
  CHECK(text.find("-foo") != std::string::npos);
  CHECK(text.find("itco") != std::string::npos);
  CHECK(text.find("disk1.raw") != std::string::npos);
  CHECK(text.find("52:54:00:00:00:01") == std::string::npos);
  CHECK(text.find("br0") != std::string::npos);
}

TEST_CASE("a device of others stays when ours of its kind go", "[libvirt]") {
  auto before = domain_of(web());
  auto devices = before.child("domain").child("devices");
  add_disk(devices, {.id = "theirs", .path = "/x", .format = DiskFormat::Raw}, "vdq", "none");
  add_nic(devices, {.id = "n", .mac = "52:54:00:aa:aa:aa"});
  auto guest = web();
  guest.disks.clear();
  guest.nics.clear();
  patch_domain(before, guest, {});
  const auto text = to_text(before);
  CHECK(text.find("theirs") != std::string::npos);
  CHECK(text.find("52:54:00:aa:aa:aa") != std::string::npos);
  CHECK(text.find("disk0") == std::string::npos);
}

TEST_CASE("an adopted domain keeps its own kernel and devices", "[libvirt]") {
  auto document = parsed(
      "<domain type='kvm'><name>old</name><uuid>11111111-2222-4333-8444-555555555555</uuid>"
      "<memory unit='KiB'>524288</memory><vcpu>2</vcpu><os><type>hvm</type><kernel>/k</kernel></os>"
      "<devices><disk type='block'><source dev='/dev/x'/><target "
      "dev='vda'/></disk></devices></domain>");
  auto guest = web();
  guest.disks.clear();
  patch_domain(document, guest, {});
  const auto text = to_text(document);
  CHECK(text.find("<kernel>/k</kernel>") != std::string::npos);
  CHECK(text.find("/dev/x") != std::string::npos);
  CHECK(facts_of(document).managed);
}

TEST_CASE("parts that a write dropped are named", "[libvirt]") {
  const auto before = with_foreign_parts(web());
  pugi::xml_document wanted;
  wanted.reset(before);
  auto guest = web();
  guest.cpus = 3;
  patch_domain(wanted, guest, {});
  pugi::xml_document stored;
  stored.reset(wanted);
  CHECK(lost_parts(before, wanted, stored).empty());
  stored.child("domain").child("devices").remove_child("watchdog");
  const std::vector<std::string> lost{"domain/devices/watchdog",
                                      "domain/devices/watchdog@model=itco"};
  CHECK(lost_parts(before, wanted, stored) == lost);
}

TEST_CASE("one of two equal parts going missing is noticed", "[libvirt]") {
  const auto before = parsed("<domain><a><b/><b/></a></domain>");
  const auto stored = parsed("<domain><a><b/></a></domain>");
  CHECK(lost_parts(before, before, stored) == std::vector<std::string>{"domain/a/b"});
}
