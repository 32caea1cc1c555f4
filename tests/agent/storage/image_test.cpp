#include <filesystem>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto/sha256.h"
#include "base/file.h"
#include "hypervisor_core/block/create.h"
#include "tests/agent/storage/store_samples.h"

using namespace reeve;
using namespace reeve::test;
using reeve::v1::DISK_FORMAT_QCOW2;
using reeve::v1::DISK_FORMAT_RAW;

namespace {

/// Digest, holes and all: data, a megabyte of zeroes, data.
std::string raw_disk() {
  std::string content(4096, 'a');
  content.resize(content.size() + (1 << 20), '\0');
  content += std::string(512, 'z');
  return content;
}

std::string reason_of(const Result<agent::v1::StoredImage>& result) {
  return result.ok() ? "" : std::string(result.error().reason());
}

}  // namespace

TEST_CASE("a raw image arrives whole, hashed and read-only", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto content = raw_disk();
  const auto action = import_of(scene.put("a.raw", content), DISK_FORMAT_RAW);
  const auto image = store->import_file(action, go_on);
  REQUIRE(image.ok());
  CHECK(image.value().sha256() == crypto::sha256_hex(content));
  CHECK(image.value().virtual_size_bytes() == static_cast<std::int64_t>(content.size()));
  const auto path = store->image_path(action.uid()).value();
  CHECK(read_file(path).value() == content);
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0400);
  CHECK(st.st_blocks * 512 < static_cast<std::int64_t>(content.size()));
  CHECK(scene.is_swept());
  CHECK(store->import_file(action, go_on).value().sha256() == image.value().sha256());
  CHECK(store->images().value() == std::vector{action.uid()});
}

TEST_CASE("an upload arrives whole, and one of another size leaves nothing", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto content = raw_disk();
  for (const std::int64_t lie : {-512, 0, 512}) {
    agent::v1::ImportImage action = import_of("", DISK_FORMAT_RAW);
    action.mutable_upload()->set_ticket("t");
    action.mutable_upload()->set_size_bytes(static_cast<std::int64_t>(content.size()) + lie);
    TextSource source(content);
    CHECK(reason_of(store->import_stream(action, source, go_on)) ==
          (lie == 0 ? "" : "UPLOAD_SIZE"));
  }
  CHECK(store->images().value().size() == 1);
  CHECK(scene.is_swept());
}

TEST_CASE("an image with another digest is refused and leaves nothing", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  auto action = import_of(scene.put("a.raw", raw_disk()), DISK_FORMAT_RAW);
  action.set_sha256(std::string(64, '0'));
  CHECK(reason_of(store->import_file(action, go_on)) == "IMAGE_DIGEST");
  CHECK(store->images().value().empty());
  CHECK(scene.is_swept());
}

TEST_CASE("a cancelled import leaves nothing", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto stop = [](std::int64_t, std::int64_t) { return false; };
  CHECK(reason_of(store->import_file(import_of(scene.put("a", raw_disk()), DISK_FORMAT_RAW),
                                     stop)) == "STEP_CANCELLED");
  CHECK(scene.is_swept());
}

TEST_CASE("images that are not what they are said to be are refused", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto raw_as_qcow2 = import_of(scene.put("r", raw_disk()), DISK_FORMAT_QCOW2);
  CHECK(reason_of(store->import_file(raw_as_qcow2, go_on)) == "QCOW2_MAGIC");
  const auto qcow2_as_raw = import_of(scene.put_qcow2("q", 1 << 20), DISK_FORMAT_RAW);
  CHECK(reason_of(store->import_file(qcow2_as_raw, go_on)) == "IMAGE_INVALID");
  CHECK(reason_of(store->import_file(import_of(scene.put("odd", "abc"), DISK_FORMAT_RAW), go_on)) ==
        "IMAGE_INVALID");
  CHECK(reason_of(store->import_file(import_of(scene.put("empty", ""), DISK_FORMAT_RAW), go_on)) ==
        "IMAGE_INVALID");
  const auto overlay = scene.imports() + "/overlay";
  REQUIRE(core::create_overlay(overlay, "/etc/shadow", core::DiskFormat::Raw, 1 << 20).ok());
  CHECK(reason_of(store->import_file(import_of(overlay, DISK_FORMAT_QCOW2), go_on)) ==
        "IMAGE_INVALID");
  CHECK(store->images().value().empty());
  CHECK(scene.is_swept());
}

TEST_CASE("a qcow2 cut anywhere in its metadata is refused", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto whole = read_file(scene.put_qcow2("q", 1 << 20)).value();
  for (std::size_t size : {1ul, 71ul, 104ul, 65536ul}) {
    INFO("cut to " << size << " of " << whole.size());
    const auto cut = import_of(scene.put("cut", whole.substr(0, size)), DISK_FORMAT_QCOW2);
    CHECK_FALSE(store->import_file(cut, go_on).ok());
  }
  CHECK(store->import_file(import_of(scene.put("w", whole), DISK_FORMAT_QCOW2), go_on)
            .value()
            .virtual_size_bytes() == 1 << 20);
}

TEST_CASE("nothing outside the import folders is read", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto inside = scene.put("ok.raw", raw_disk());
  const std::string outside = scene.dir / "secret.raw";
  REQUIRE(write_file_durably(outside, raw_disk()).ok());
  std::filesystem::create_symlink(outside, scene.imports() + "/link");
  std::filesystem::create_directory_symlink(scene.dir.path(), scene.imports() + "/folder");
  REQUIRE(make_dirs(scene.imports() + "/sub").ok());
  for (const std::string& path :
       {outside, scene.imports() + "/link", scene.imports() + "/folder/secret.raw",
        scene.imports() + "/../secret.raw", scene.imports() + "/sub/../../secret.raw",
        scene.imports() + "evil/x", scene.imports(), scene.imports() + "/sub",
        std::string("/etc/shadow"), std::string("/proc/self/fd/0"), std::string("/dev/zero")})
    CHECK(reason_of(store->import_file(import_of(path, DISK_FORMAT_RAW), go_on)) ==
          "IMPORT_PATH_REFUSED");
  CHECK(store->import_file(import_of(inside, DISK_FORMAT_RAW), go_on).ok());
  const auto said = [&](const std::string& path) {
    return store->import_file(import_of(path, DISK_FORMAT_RAW), go_on).error().message();
  };
  CHECK(said(scene.imports() + "/link")
            .ends_with("has a symbolic link in it, which is not followed"));
  CHECK(said(scene.imports() + "/sub").ends_with("is not a plain file"));
  CHECK(said(outside).ends_with("is not below a folder this host imports from"));
}

TEST_CASE("names that are no uids never become paths", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  for (const char* uid :
       {"", ".", "..", "../guests", "a/b", "%2e%2e", "3F2504E0-4F89-11D3-9A0C-0305E82C3301",
        "3f2504e0-4f89-11d3-9a0c-0305e82c330", "3f2504e0-4f89-11d3-9a0c-0305e82c3301/"}) {
    CHECK(store->image(uid).error().reason() == "BAD_UID");
    CHECK(store->remove_image(uid).error().reason() == "BAD_UID");
    CHECK(store->remove_guest(uid).error().reason() == "BAD_UID");
    CHECK(store->guest(uid).error().reason() == "BAD_UID");
  }
}

TEST_CASE("an image a machine is made from stays", "[agent]") {
  StoreScene scene;
  auto store = scene.open();
  const auto image =
      store->import_file(import_of(scene.put_qcow2("q", 1 << 20), DISK_FORMAT_QCOW2), go_on);
  REQUIRE(image.ok());
  const auto spec = guest_on(&image.value());
  REQUIRE(store->prepare_guest(spec).ok());
  CHECK(store->remove_image(image.value().uid()).error().reason() == "IMAGE_IN_USE");
  REQUIRE(store->remove_guest(spec.uid()).ok());
  CHECK(store->remove_image(image.value().uid()).ok());
  CHECK(store->remove_image(image.value().uid()).ok());
  CHECK(store->images().value().empty());
  CHECK(scene.is_swept());
}
