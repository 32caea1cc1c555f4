#include <filesystem>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "hypervisor_core/block/qcow2_header.h"
#include "tests/agent/storage/store_samples.h"

using namespace reeve;
using namespace reeve::test;
using reeve::v1::DISK_FORMAT_QCOW2;
using reeve::v1::DISK_FORMAT_RAW;

TEST_CASE("a prepared guest has its disks, seed and spec", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto image =
      store->import_file(import_of(scene.put_qcow2("q", 1 << 20), DISK_FORMAT_QCOW2), go_on);
  REQUIRE(image.ok());
  auto spec = guest_on(&image.value());
  spec.mutable_disks(0)->set_size_bytes(8 << 20);
  auto& second = *spec.add_disks();
  second.set_id("data");
  second.set_format(DISK_FORMAT_RAW);
  second.set_size_bytes(1 << 20);
  const std::string secret = "#cloud-config\npassword: canary-7f3a\n";
  spec.mutable_seed()->set_user_data(secret);
  spec.mutable_seed()->set_meta_data("instance-id: 1\n");
  CHECK_FALSE(store->is_prepared(spec).value());
  REQUIRE(store->prepare_guest(spec).ok());
  CHECK(store->is_prepared(spec).value());
  CHECK(store->prepare_guest(spec).ok());

  const auto made = store->definition_of(spec).value();
  REQUIRE(made.disks.size() == 2);
  CHECK(made.disks[0].backing_path == store->image_path(image.value().uid()).value());
  const auto disk = open_file(made.disks[0].path, O_RDONLY).value();
  const auto facts = core::inspect_qcow2(disk.get()).value();
  CHECK(facts.backing_file == made.disks[0].backing_path);
  CHECK(facts.backing_format == "qcow2");
  CHECK(facts.virtual_size == 8 << 20);
  CHECK(std::filesystem::file_size(made.disks[1].path) == 1 << 20);
  CHECK(std::filesystem::is_directory(made.run_dir));

  struct stat st {};
  REQUIRE(::stat(made.seed_path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  const auto folder = scene.dir / "seed";
  REQUIRE(run_checked({.argv = {"xorriso", "-osirrox", "on", "-indev", made.seed_path, "-extract",
                                "/", folder.string()}})
              .ok());
  CHECK(read_file(folder / "user-data").value() == secret);
  CHECK(read_file(folder / "meta-data").value() == "instance-id: 1\n");
  CHECK_FALSE(
      std::filesystem::exists(std::filesystem::path(made.seed_path).parent_path() / "seed"));
  CHECK(scene.is_swept());
}

TEST_CASE("a prepared guest keeps its disks when its spec changes, and refuses other ones",
          "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  auto spec = guest_on(nullptr);
  REQUIRE(store->prepare_guest(spec).ok());
  const auto path = store->definition_of(spec).value().disks[0].path;
  const auto inode = [&] {
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    return st.st_ino;
  };
  const auto before = inode();
  spec.set_cpus(4);
  CHECK(store->prepare_guest(spec).ok());
  CHECK(store->guest(spec.uid()).value().cpus() == 4);
  CHECK(inode() == before);
  auto other = spec;
  other.mutable_disks(0)->set_size_bytes(2 << 20);
  CHECK(store->prepare_guest(other).error().reason() == "GUEST_PREPARED_OTHERWISE");
  REQUIRE(std::filesystem::remove(path));
  CHECK_FALSE(store->is_prepared(spec).value());
  CHECK(store->prepare_guest(spec).error().reason() == "STORE_DAMAGED");
}

TEST_CASE("a guest whose image is missing, smaller or of another format is not made", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto image =
      store->import_file(import_of(scene.put_qcow2("q", 4 << 20), DISK_FORMAT_QCOW2), go_on);
  REQUIRE(image.ok());
  auto missing = guest_on(&image.value());
  missing.mutable_disks(0)->set_image(fresh_uid());
  CHECK(store->prepare_guest(missing).error().reason() == "IMAGE_NOT_FOUND");
  CHECK(store->prepare_guest(guest_on(&image.value())).error().reason() == "DISK_TOO_SMALL");
  auto other = guest_on(&image.value());
  other.mutable_disks(0)->set_size_bytes(4 << 20);
  other.mutable_disks(0)->set_image_format(DISK_FORMAT_RAW);
  CHECK(store->prepare_guest(other).error().reason() == "BAD_DISK");
  CHECK(store->guests().value().empty());
  CHECK(scene.is_swept());
}

TEST_CASE("cloud-init data of ten megabytes is refused and leaves nothing", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  auto spec = guest_on(nullptr);
  spec.mutable_seed()->set_user_data(std::string(10 << 20, 'x'));
  CHECK(store->prepare_guest(spec).error().reason() == "BAD_SEED");
  CHECK(store->guests().value().empty());
  CHECK(scene.is_swept());
}

TEST_CASE("a saved state counts only when it was kept", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto spec = guest_on(nullptr);
  REQUIRE(store->prepare_guest(spec).ok());
  const auto path = store->new_saved_state(spec.uid()).value();
  REQUIRE(write_file_durably(path, "state").ok());
  CHECK(store->saved_state(spec.uid()).error().reason() == "NO_SAVED_STATE");
  REQUIRE(store->keep_saved_state(spec.uid()).ok());
  CHECK(read_file(store->saved_state(spec.uid()).value()).value() == "state");
  REQUIRE(store->remove_saved_state(spec.uid()).ok());
  CHECK_FALSE(store->saved_state(spec.uid()).ok());
}

TEST_CASE("a damaged record is an error, never a guess", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto spec = guest_on(nullptr);
  REQUIRE(store->prepare_guest(spec).ok());
  REQUIRE(
      write_file_durably(scene.data() + "/guests/" + spec.uid() + "/spec.pb", "\xff\xff\xff").ok());
  CHECK(store->guest(spec.uid()).error().reason() == "STORE_DAMAGED");
  CHECK(store->is_prepared(spec).error().reason() == "STORE_DAMAGED");
}
