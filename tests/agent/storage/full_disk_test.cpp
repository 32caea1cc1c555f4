// A disk that is really full: the file size limit of a child process stands in for it where a small
// file system cannot be mounted.
#include <csignal>
#include <fstream>

#include <catch2/catch.hpp>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/agent/storage/store_samples.h"

using namespace reeve;
using namespace reeve::test;
using reeve::v1::DISK_FORMAT_RAW;

namespace {

/// A file system of a few MiB over the data folder; empty where mounting is not allowed.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path_(path) {
    mounted_ = ::mount("none", path.c_str(), "tmpfs", 0, "size=4m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool is_there() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

}  // namespace

TEST_CASE("an import that does not fit is refused with numbers and leaves nothing",
          "[agent][root]") {
  StoreScene scene;
  const SmallDisk small(scene.data());
  if (!small.is_there()) {
    WARN("skipped: this user may not mount");
    return;
  }
  auto store = scene.open();
  const auto action = import_of(scene.put("big", std::string(8 << 20, 'x')), DISK_FORMAT_RAW);
  const auto image = store->import_file(action, go_on);
  REQUIRE_FALSE(image.ok());
  CHECK(image.error().code() == Code::ResourceExhausted);
  CHECK(image.error().reason() == "DISK_FULL");
  CHECK(image.error().metadata().at("needed_bytes") == std::to_string(8 << 20));
  CHECK(image.error().metadata().contains("free_bytes"));
  CHECK(scene.is_swept());
}

TEST_CASE("a guest whose memory filled the disk is saved all the same", "[agent][root]") {
  StoreScene scene;
  const SmallDisk small(scene.data());
  if (!small.is_there()) {
    WARN("skipped: this user may not mount");
    return;
  }
  auto store = scene.open();
  const auto spec = guest_on(nullptr);
  REQUIRE(store->prepare_guest(spec).ok());
  const auto path = store->new_saved_state(spec.uid()).value();
  std::ofstream(path) << std::string(8 << 20, 'x');  // cut short where the disk ends
  CHECK_FALSE(write_file_durably(scene.data() + "/other", std::string(1 << 16, 'y')).ok());
  const auto kept = store->keep_saved_state(spec.uid());
  INFO((kept.ok() ? "" : kept.error().message()));
  CHECK(kept.ok());
  CHECK(store->check_saved_state(spec.uid()).ok());
  // Where not even that is left, the guest is not touched.
  REQUIRE(store->remove_saved_state(spec.uid()).ok());
  std::ofstream(scene.data() + "/other") << std::string(8 << 20, 'y');
  CHECK(store->new_saved_state(spec.uid()).error().reason() == "DISK_FULL");
}

TEST_CASE("a disk that fills up while an upload runs ends it and leaves nothing", "[agent][root]") {
  StoreScene scene;
  const SmallDisk small(scene.data());
  if (!small.is_there()) {
    WARN("skipped: this user may not mount");
    return;
  }
  auto store = scene.open();
  agent::v1::ImportImage action = import_of("", DISK_FORMAT_RAW);
  action.mutable_upload()->set_ticket("t");
  action.mutable_upload()->set_size_bytes(3 << 20);
  TextSource source(std::string(3 << 20, 'x'));
  bool filled = false;
  const auto fill = [&](std::int64_t, std::int64_t) {
    if (!std::exchange(filled, true))
      (void)write_file_durably(scene.data() + "/other", std::string(2 << 20, 'y')).ok();
    return true;
  };
  const auto image = store->import_stream(action, source, fill);
  REQUIRE_FALSE(image.ok());
  CHECK(image.error().reason() == "DISK_FULL");
  CHECK(scene.is_swept());
  CHECK(store->images().value().empty());
  // With room again the same import succeeds.
  REQUIRE(remove_file(scene.data() + "/other").ok());
  TextSource again(std::string(3 << 20, 'x'));
  CHECK(store->import_stream(action, again, go_on).ok());
}
