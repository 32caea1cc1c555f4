// tests/agent/storage/store_samples.h - a store in a scratch folder, with images to import and
// guests to make.
#pragma once

#include <memory>
#include <string>

#include "agent/storage/dir_store.h"
#include "tests/support/temp_dir.h"

namespace reeve::test {

/// Never says stop.
bool go_on(std::int64_t done, std::int64_t total);

struct StoreScene {
  StoreScene();
  std::unique_ptr<agent::DirStore> open(std::function<void(std::string_view)> at = {}) const;
  std::string data() const { return (dir / "data").string(); }
  std::string imports() const { return (dir / "imports").string(); }
  /// A file below the import folder.
  std::string put(const std::string& name, const std::string& content) const;
  std::string put_qcow2(const std::string& name, std::uint64_t size) const;
  /// Whether nothing half-made lies about.
  bool is_swept() const;

  TempDir dir;
};

std::string fresh_uid();
agent::v1::ImportImage import_of(const std::string& path, reeve::v1::DiskFormat format,
                                 const std::string& uid = fresh_uid());
agent::v1::GuestSpec guest_on(const agent::v1::StoredImage* image);

/// Hands out a text, a few bytes at a time.
class TextSource final : public agent::ByteSource {
 public:
  explicit TextSource(std::string text) : text_(std::move(text)) {}
  Result<std::size_t> read(std::span<std::byte> into) override;

 private:
  std::string text_;
  std::size_t at_ = 0;
};

}  // namespace reeve::test
