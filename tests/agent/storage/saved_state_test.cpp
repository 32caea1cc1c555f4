// Saved states on the disk: kept with the disks they belong to, used once, refused when the disks
// have moved on.
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "tests/agent/storage/store_samples.h"

using namespace reeve;
using namespace reeve::test;
namespace fs = std::filesystem;

namespace {

struct Saved {
  Saved() {
    REQUIRE(store->prepare_guest(spec).ok());
    save();
  }
  void save() {
    std::ofstream(store->new_saved_state(spec.uid()).value()) << "memory of the guest";
    // A clock may tick too slowly for what a test does.
    for (const char* name : {"state.part", "disk0.qcow2"})
      fs::last_write_time(file(name), fs::file_time_type::clock::now() - std::chrono::hours(1));
    const auto kept = store->keep_saved_state(spec.uid());
    INFO((kept.ok() ? "" : kept.error().message()));
    REQUIRE(kept.ok());
  }
  std::string file(const std::string& name) const {
    return scene.data() + "/guests/" + spec.uid() + "/" + name;
  }
  std::string why_stale() const {
    const auto checked = store->check_saved_state(spec.uid());
    if (checked.ok()) return "fits";
    CHECK(checked.error().reason() == "SAVED_STATE_STALE");
    return checked.error().message();
  }
  bool says(const std::string& part) const {
    const auto why = why_stale();
    INFO(why);
    return why.find(part) != std::string::npos;
  }

  StoreScene scene;
  agent::v1::GuestSpec spec = guest_on(nullptr);
  std::unique_ptr<agent::DirStore> store = scene.open();
};

void write_in_place(const std::string& path, const std::string& bytes) {
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary) << bytes;
}

}  // namespace

TEST_CASE("a saved state is kept over a restart of the agent, and fits", "[agent]") {
  Saved s;
  s.store = s.scene.open();
  CHECK(s.store->saved_state(s.spec.uid()).value() == s.file("state"));
  CHECK(s.why_stale() == "fits");
  CHECK(s.store->was_state_used(s.spec.uid()).value() == false);
}

TEST_CASE("a saved state is refused when a disk was written, has grown or is gone", "[agent]") {
  Saved s;
  const std::string disk = s.file("disk0.qcow2");
  SECTION("written") {
    write_in_place(disk, "QFI");
    CHECK(s.says("'disk0.qcow2' was written since"));
  }
  SECTION("grown") {
    fs::resize_file(disk, fs::file_size(disk) + 512);
    CHECK(s.says("'disk0.qcow2' had"));
  }
  SECTION("gone") {
    fs::remove(disk);
    CHECK(s.says("'disk0.qcow2' cannot be read"));
  }
  SECTION("replaced by another of the same size") {
    fs::copy_file(disk, disk + ".copy");
    fs::rename(disk + ".copy", disk);
    CHECK(s.says("'disk0.qcow2' was written since"));
  }
}

TEST_CASE("a saved state that was cut short, edited or lost its record is refused", "[agent]") {
  Saved s;
  SECTION("cut short") {
    fs::resize_file(s.file("state"), 3);
    CHECK(s.says("'state' had 19 bytes and has 3"));
  }
  SECTION("edited") {
    write_in_place(s.file("state"), "MEM");
    CHECK(s.says("'state' was written since"));
  }
  SECTION("record lost") {
    fs::remove(s.file("state.marks"));
    CHECK(s.says("cannot be read"));
  }
  SECTION("record empty") {
    std::ofstream(s.file("state.marks"), std::ios::trunc);
    CHECK(s.says("cannot be read"));
  }
}

TEST_CASE("a used state is not offered any more, and its space comes back", "[agent]") {
  Saved s;
  const auto uid = s.spec.uid();
  REQUIRE(s.store->use_saved_state(uid).ok());
  REQUIRE(s.store->use_saved_state(uid).ok());
  s.store = s.scene.open();
  CHECK(s.store->saved_state(uid).error().reason() == "NO_SAVED_STATE");
  CHECK(s.store->was_state_used(uid).value());
  std::ifstream reader(s.file("state.used"));  // as a vmm process that still reads from it
  REQUIRE(s.store->free_used_state(uid).ok());
  REQUIRE(s.store->free_used_state(uid).ok());
  CHECK(fs::file_size(s.file("state.used")) == 0);
  std::string content;
  std::getline(reader, content);
  CHECK(content == "memory of the guest");
  CHECK(s.store->was_state_used(uid).value());
  s.save();
  CHECK(s.store->saved_state(uid).ok());
  CHECK_FALSE(s.store->was_state_used(uid).value());
  REQUIRE(s.store->remove_saved_state(uid).ok());
  REQUIRE(s.store->remove_saved_state(uid).ok());
  CHECK(s.store->use_saved_state(uid).error().reason() == "NO_SAVED_STATE");
}

TEST_CASE("what was begun and never kept is no saved state", "[agent]") {
  Saved s;
  const auto uid = s.spec.uid();
  std::ofstream(s.store->new_saved_state(uid).value()) << "half";
  CHECK(s.store->saved_state(uid).error().reason() == "NO_SAVED_STATE");
  CHECK(s.store->begun_saved_state(uid).value() == s.file("state.part"));
  REQUIRE(s.store->remove_saved_state(uid).ok());
  CHECK(s.store->begun_saved_state(uid).error().reason() == "NO_SAVED_STATE");
  CHECK(s.store->keep_saved_state(uid).error().reason() == "NO_SAVED_STATE");
}
