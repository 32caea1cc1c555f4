#include "tests/agent/storage/store_samples.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/random.h"
#include "base/uuid.h"
#include "hypervisor_core/block/create.h"

namespace reeve::test {

bool go_on(std::int64_t /*done*/, std::int64_t /*total*/) {
  return true;
}

StoreScene::StoreScene() {
  REQUIRE(make_dirs(data()).ok());
  REQUIRE(make_dirs(imports()).ok());
}

std::unique_ptr<agent::DirStore> StoreScene::open(std::function<void(std::string_view)> at) const {
  auto store =
      agent::DirStore::open({.data = data(), .import_dirs = {imports()}, .at = std::move(at)});
  REQUIRE(store.ok());
  return std::move(store).value();
}

std::string StoreScene::put(const std::string& name, const std::string& content) const {
  const std::string path = imports() + "/" + name;
  REQUIRE(write_file_durably(path, content).ok());
  return path;
}

std::string StoreScene::put_qcow2(const std::string& name, std::uint64_t size) const {
  const std::string path = imports() + "/" + name;
  REQUIRE(core::create_qcow2(path, size).ok());
  return path;
}

bool StoreScene::is_swept() const {
  return std::filesystem::is_empty(data() + "/making");
}

std::string fresh_uid() {
  return new_uuid(SystemRandom::instance());
}

agent::v1::ImportImage import_of(const std::string& path, reeve::v1::DiskFormat format,
                                 const std::string& uid) {
  agent::v1::ImportImage action;
  action.set_uid(uid);
  action.set_kind(reeve::v1::Image::KIND_DISK);
  action.set_format(format);
  action.set_host_path(path);
  return action;
}

agent::v1::GuestSpec guest_on(const agent::v1::StoredImage* image) {
  agent::v1::GuestSpec spec;
  spec.set_uid(fresh_uid());
  spec.set_display_name("vm");
  spec.set_hypervisor("qemu");
  spec.set_cpus(1);
  spec.set_memory_mib(256);
  auto& disk = *spec.add_disks();
  disk.set_id("disk0");
  disk.set_format(reeve::v1::DISK_FORMAT_QCOW2);
  disk.set_size_bytes(1 << 20);
  if (image) {
    disk.set_image(image->uid());
    disk.set_image_format(image->format());
  }
  return spec;
}

Result<std::size_t> TextSource::read(std::span<std::byte> into) {
  constexpr std::size_t kPiece = 1000;
  const std::size_t n = std::min({into.size(), text_.size() - at_, kPiece});
  std::memcpy(into.data(), text_.data() + at_, n);
  at_ += n;
  return n;
}

}  // namespace reeve::test
