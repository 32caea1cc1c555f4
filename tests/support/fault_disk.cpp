#include "tests/support/fault_disk.h"

#include <atomic>

#include "base/check.h"
#include "tests/support/fault_disk_files.h"

namespace reeve::test {
namespace {

using fault::apply_change;
using fault::File;
using fault::Pending;

constexpr std::size_t kSector = 512;

std::string bytes_of(const FaultDisk::Content& content) {
  std::string out(content.size(), '\0');
  content.read(0, out.data(), out.size());
  return out;
}

std::string unique_name() {
  static std::atomic<int> counter{0};
  return "fault-disk-" + std::to_string(++counter);
}

}  // namespace

void FaultDisk::Impl::lose_unsynced(File& file) {
  // One cut in three is clean to either side; the rest keep some sectors of some writes.
  const auto fate = random() % 3;
  for (auto& change : file.pending) {
    if (fate == 0) break;
    if (fate == 1 || change.kind == Pending::Kind::Truncate) {
      if (fate == 1 || coin()) apply_change(file.durable, change);
      continue;
    }
    for (std::size_t at = 0; at < change.bytes.size(); at += kSector)
      if (coin())
        apply_change(file.durable,
                     {Pending::Kind::Write, change.offset + at, change.bytes.substr(at, kSector)});
  }
  file.pending.clear();
  file.current = file.durable;
}

FaultDisk::FaultDisk(std::uint64_t seed) : impl_(std::make_unique<Impl>(seed)) {
  impl_->name = unique_name();
  register_vfs(*impl_);
}

FaultDisk::~FaultDisk() {
  sqlite3_vfs_unregister(&impl_->vfs);
}

const std::string& FaultDisk::vfs() const {
  return impl_->name;
}

FaultDisk::Image FaultDisk::image() const {
  std::lock_guard guard(impl_->mutex);
  Image out;
  for (const auto& [path, file] : impl_->files)
    out[path] = std::make_shared<const Content>(file->current);
  return out;
}

void FaultDisk::load(const Image& image) {
  std::lock_guard guard(impl_->mutex);
  ++impl_->generation;
  impl_->files.clear();
  impl_->deleted.clear();
  for (const auto& [path, content] : image) {
    auto file = std::make_shared<File>();
    file->current = file->durable = *content;
    file->entry_is_durable = true;
    impl_->files[path] = std::move(file);
  }
}

std::int64_t FaultDisk::operations() const {
  std::lock_guard guard(impl_->mutex);
  return impl_->operations;
}

void FaultDisk::crash_after(std::int64_t n) {
  std::lock_guard guard(impl_->mutex);
  impl_->last_operation = impl_->operations + n;
}

void FaultDisk::crash_now() {
  std::lock_guard guard(impl_->mutex);
  impl_->is_crashed = true;
}

bool FaultDisk::crashed() const {
  std::lock_guard guard(impl_->mutex);
  return impl_->is_crashed;
}

void FaultDisk::restart(Loss loss) {
  std::lock_guard guard(impl_->mutex);
  auto& disk = *impl_;
  ++disk.generation;
  disk.is_crashed = false;
  disk.last_operation = kNever;
  if (loss == Loss::PowerCut) {
    for (auto& [path, file] : disk.deleted)
      if (disk.coin() && !disk.files.contains(path)) disk.files[path] = file;
    for (auto it = disk.files.begin(); it != disk.files.end();) {
      const bool keeps_name = it->second->entry_is_durable || disk.coin();
      it = keeps_name ? std::next(it) : disk.files.erase(it);
    }
    for (auto& [path, file] : disk.files) disk.lose_unsynced(*file);
  }
  disk.deleted.clear();
  // New File objects: connections from before keep the old ones, with the shared memory they map.
  for (auto& [path, file] : disk.files) {
    auto fresh = std::make_shared<File>();
    fresh->current = std::move(file->current);
    fresh->durable = std::move(file->durable);
    fresh->pending = std::move(file->pending);
    fresh->entry_is_durable = file->entry_is_durable;
    file = std::move(fresh);
  }
}

void FaultDisk::set_capacity(std::int64_t bytes) {
  std::lock_guard guard(impl_->mutex);
  impl_->capacity = bytes;
}

void FaultDisk::clear_capacity() {
  std::lock_guard guard(impl_->mutex);
  impl_->capacity.reset();
}

void FaultDisk::set_failing(Operation operation, bool failing) {
  std::lock_guard guard(impl_->mutex);
  switch (operation) {
    case Operation::Read: impl_->fails_read = failing; break;
    case Operation::Write: impl_->fails_write = failing; break;
    case Operation::Sync: impl_->fails_sync = failing; break;
  }
}

void FaultDisk::corrupt(const std::string& path, std::int64_t offset, std::string_view bytes) {
  std::lock_guard guard(impl_->mutex);
  const auto file = impl_->find(path.c_str());
  REEVE_CHECK(file != nullptr);
  const Pending change{Pending::Kind::Write, static_cast<std::size_t>(offset), std::string(bytes)};
  apply_change(file->current, change);
  apply_change(file->durable, change);
}

std::string FaultDisk::bytes(const std::string& path) const {
  std::lock_guard guard(impl_->mutex);
  const auto file = impl_->find(path.c_str());
  return file == nullptr ? std::string() : bytes_of(file->current);
}

void FaultDisk::put(const std::string& path, std::string_view bytes) {
  std::lock_guard guard(impl_->mutex);
  auto file = std::make_shared<File>();
  file->current.write(0, bytes);
  file->durable = file->current;
  file->entry_is_durable = true;
  impl_->files[path] = std::move(file);
}

std::int64_t FaultDisk::size(const std::string& path) const {
  std::lock_guard guard(impl_->mutex);
  const auto file = impl_->find(path.c_str());
  return file == nullptr ? 0 : static_cast<std::int64_t>(file->current.size());
}

bool FaultDisk::exists(const std::string& path) const {
  std::lock_guard guard(impl_->mutex);
  return impl_->find(path.c_str()) != nullptr;
}

}  // namespace reeve::test
