// tests/support/fault_disk_files.h - the files of a FaultDisk and what has not been synced of them.
// Internal to fault_disk.cpp (control) and fault_vfs.cpp (what SQLite calls).
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <sqlite3.h>

#include "tests/support/fault_disk.h"

namespace reeve::test {

/// Bytes in pages that copies share until one of them writes.
class FaultDisk::Content {
 public:
  std::size_t size() const { return size_; }

  /// The range must exist.
  void read(std::size_t offset, char* out, std::size_t length) const {
    each_page(offset, length, [&](std::size_t page, std::size_t begin, std::size_t part) {
      if (pages_[page] == nullptr) {
        std::memset(out, 0, part);
      } else {
        std::memcpy(out, pages_[page]->data() + begin, part);
      }
      out += part;
    });
  }

  void write(std::size_t offset, std::string_view bytes) {
    resize(std::max(size_, offset + bytes.size()));
    const char* from = bytes.data();
    each_page(offset, bytes.size(), [&](std::size_t page, std::size_t begin, std::size_t part) {
      std::memcpy(own(page).data() + begin, from, part);
      from += part;
    });
  }

  /// Growth reads as zeroes.
  void resize(std::size_t size) {
    if (size < size_ && size % kPage != 0 && pages_[size / kPage] != nullptr) {
      auto& page = own(size / kPage);
      std::fill(page.begin() + static_cast<std::ptrdiff_t>(size % kPage), page.end(), '\0');
    }
    pages_.resize((size + kPage - 1) / kPage);
    size_ = size;
  }

  /// Takes over the pages that this range touches; both must be of one size.
  void share(const Content& other, std::size_t offset, std::size_t length) {
    each_page(offset, length, [&](std::size_t page, std::size_t, std::size_t) {
      pages_[page] = other.pages_[page];
    });
  }

 private:
  static constexpr std::size_t kPage = 4096;
  using Page = std::array<char, kPage>;

  template <class Fn>
  static void each_page(std::size_t offset, std::size_t length, Fn visit) {
    while (length > 0) {
      const auto begin = offset % kPage;
      const auto part = std::min(length, kPage - begin);
      visit(offset / kPage, begin, part);
      offset += part;
      length -= part;
    }
  }

  Page& own(std::size_t index) {
    auto& page = pages_[index];
    if (page == nullptr) {
      page = std::make_shared<Page>(Page{});
    } else if (page.use_count() > 1) {
      page = std::make_shared<Page>(*page);
    }
    return *page;
  }

  std::vector<std::shared_ptr<Page>> pages_{};  // null: zeroes
  std::size_t size_ = 0;
};

namespace fault {

using Content = FaultDisk::Content;

/// A change that is not synced yet.
struct Pending {
  enum class Kind { Write, Truncate };
  Kind kind = Kind::Write;
  std::size_t offset = 0;  // new size for Truncate
  std::string bytes{};
};

struct Handle;

/// SQLite's five lock levels on one file.
struct FileLock {
  int shared = 0;
  Handle* reserved = nullptr;
  Handle* pending = nullptr;
  Handle* exclusive = nullptr;
};

struct SharedMemory {
  std::vector<std::unique_ptr<char[]>> regions{};
  int users = 0;
  int shared[SQLITE_SHM_NLOCK] = {};
  bool exclusive[SQLITE_SHM_NLOCK] = {};
};

struct File {
  Content current{};
  Content durable{};
  std::vector<Pending> pending{};
  bool entry_is_durable = false;  // whether its name survives a power cut
  FileLock lock{};
  SharedMemory shm{};
};

inline void apply_change(Content& content, const Pending& change) {
  if (change.kind == Pending::Kind::Write) {
    content.write(change.offset, change.bytes);
  } else if (change.offset < content.size()) {
    content.resize(change.offset);
  }
}

}  // namespace fault

/// Zero-based operation after which a disk is dead; none when negative.
inline constexpr std::int64_t kNever = -1;

struct FaultDisk::Impl {
  mutable std::mutex mutex;
  std::mt19937_64 random;
  std::string name{};
  sqlite3_vfs vfs{};
  std::map<std::string, std::shared_ptr<fault::File>> files{};
  std::map<std::string, std::shared_ptr<fault::File>> deleted{};  // without a sync of the folder
  std::uint64_t generation = 1;
  std::int64_t operations = 0;
  std::int64_t last_operation = kNever;
  bool is_crashed = false;
  std::optional<std::int64_t> capacity{};
  bool fails_read = false, fails_write = false, fails_sync = false;

  explicit Impl(std::uint64_t seed) : random(seed) {}

  /// Counts an operation that happens; dead afterwards when it was the last.
  void count() {
    ++operations;
    if (last_operation != kNever && operations >= last_operation) is_crashed = true;
  }
  bool coin() { return (random() & 1) != 0; }
  std::int64_t used() const {
    std::int64_t sum = 0;
    for (const auto& [path, file] : files) sum += static_cast<std::int64_t>(file->current.size());
    return sum;
  }
  std::shared_ptr<fault::File> find(const char* path) const {
    const auto it = files.find(path);
    return it == files.end() ? nullptr : it->second;
  }
  void sync(fault::File& file) {
    bool was_cut = false;
    for (const auto& change : file.pending)
      was_cut = was_cut || change.kind == fault::Pending::Kind::Truncate;
    if (was_cut) {
      file.durable = file.current;
    } else {
      file.durable.resize(file.current.size());
      for (const auto& change : file.pending)
        file.durable.share(file.current, change.offset, change.bytes.size());
    }
    file.pending.clear();
    file.entry_is_durable = true;
  }
  void lose_unsynced(fault::File& file);
};

/// Fills in impl.vfs and registers it under impl.name.
void register_vfs(FaultDisk::Impl& impl);

}  // namespace reeve::test
