#include "tests/support/fault_disk.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <sqlite3.h>

#include "base/check.h"

namespace reeve::test {
namespace {

constexpr std::size_t kSector = 512;

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
  std::string current{};
  std::string durable{};
  std::vector<Pending> pending{};
  bool entry_is_durable = false;  // whether its name survives a power cut
  FileLock lock{};
  SharedMemory shm{};
};

void apply_change(std::string& content, const Pending& change) {
  if (change.kind == Pending::Kind::Truncate) {
    if (change.offset < content.size()) content.resize(change.offset);
    return;
  }
  const auto end = change.offset + change.bytes.size();
  if (content.size() < end) content.resize(end);
  std::memcpy(content.data() + change.offset, change.bytes.data(), change.bytes.size());
}

/// Zero-based operation after which a disk is dead; none when negative.
constexpr std::int64_t kNever = -1;

}  // namespace

struct FaultDisk::Impl {
  mutable std::mutex mutex;
  std::mt19937_64 random;
  std::string name{};
  sqlite3_vfs vfs{};
  std::map<std::string, std::shared_ptr<File>> files{};
  std::map<std::string, std::shared_ptr<File>> deleted{};  // without a sync of the folder
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
  std::shared_ptr<File> find(const char* path) const {
    const auto it = files.find(path);
    return it == files.end() ? nullptr : it->second;
  }
  void sync(File& file) {
    for (const auto& change : file.pending) apply_change(file.durable, change);
    file.pending.clear();
    file.entry_is_durable = true;
  }
  void lose_unsynced(File& file);
};

namespace {

struct Handle : sqlite3_file {
  FaultDisk::Impl* disk;
  std::shared_ptr<File> file;
  std::uint64_t generation;
  int level;
  bool has_shm;
  std::uint16_t shm_shared, shm_exclusive;

  bool is_dead() const { return disk->is_crashed || generation != disk->generation; }
  bool is_stale() const { return generation != disk->generation; }
};

Handle& of(sqlite3_file* file) {
  return *static_cast<Handle*>(file);
}

int close_file(sqlite3_file* file) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  handle.file.~shared_ptr();
  return SQLITE_OK;
}

int read_file(sqlite3_file* file, void* out, int amount, sqlite3_int64 offset) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  if (handle.is_dead() || handle.disk->fails_read) return SQLITE_IOERR_READ;
  const auto& content = handle.file->current;
  const auto begin = std::min(static_cast<std::size_t>(offset), content.size());
  const auto length = std::min(static_cast<std::size_t>(amount), content.size() - begin);
  std::memcpy(out, content.data() + begin, length);
  if (length == static_cast<std::size_t>(amount)) return SQLITE_OK;
  std::memset(static_cast<char*>(out) + length, 0, static_cast<std::size_t>(amount) - length);
  return SQLITE_IOERR_SHORT_READ;
}

int write_file(sqlite3_file* file, const void* bytes, int amount, sqlite3_int64 offset) {
  auto& handle = of(file);
  auto& disk = *handle.disk;
  std::lock_guard guard(disk.mutex);
  if (handle.is_dead() || disk.fails_write) return SQLITE_IOERR_WRITE;
  auto& target = *handle.file;
  const auto growth = offset + amount - static_cast<std::int64_t>(target.current.size());
  if (disk.capacity && growth > 0 && disk.used() + growth > *disk.capacity) return SQLITE_FULL;
  Pending change{Pending::Kind::Write, static_cast<std::size_t>(offset),
                 std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(amount))};
  apply_change(target.current, change);
  target.pending.push_back(std::move(change));
  disk.count();
  return SQLITE_OK;
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  if (handle.is_dead() || handle.disk->fails_write) return SQLITE_IOERR_TRUNCATE;
  Pending change{Pending::Kind::Truncate, static_cast<std::size_t>(size), {}};
  apply_change(handle.file->current, change);
  handle.file->pending.push_back(std::move(change));
  handle.disk->count();
  return SQLITE_OK;
}

int sync_file(sqlite3_file* file, int) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  if (handle.is_dead() || handle.disk->fails_sync) return SQLITE_IOERR_FSYNC;
  handle.disk->sync(*handle.file);
  handle.disk->count();
  return SQLITE_OK;
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  if (handle.is_dead()) return SQLITE_IOERR_FSTAT;
  *size = static_cast<sqlite3_int64>(handle.file->current.size());
  return SQLITE_OK;
}

int lock_file(sqlite3_file* file, int level) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  if (handle.is_dead()) return SQLITE_IOERR_LOCK;
  if (handle.level >= level) return SQLITE_OK;
  auto& lock = handle.file->lock;
  const auto is_other = [&](Handle* owner) { return owner != nullptr && owner != &handle; };
  if (is_other(lock.exclusive)) return SQLITE_BUSY;
  if (level == SQLITE_LOCK_SHARED) {
    if (is_other(lock.pending)) return SQLITE_BUSY;
    ++lock.shared;
    handle.level = level;
    return SQLITE_OK;
  }
  if (level == SQLITE_LOCK_RESERVED) {
    if (is_other(lock.reserved)) return SQLITE_BUSY;
    lock.reserved = &handle;
    handle.level = level;
    return SQLITE_OK;
  }
  if (is_other(lock.pending) || is_other(lock.reserved)) return SQLITE_BUSY;
  lock.pending = &handle;
  handle.level = SQLITE_LOCK_PENDING;
  if (lock.shared > 1) return SQLITE_BUSY;
  lock.exclusive = &handle;
  handle.level = level;
  return SQLITE_OK;
}

int unlock_file(sqlite3_file* file, int level) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  if (handle.is_stale() || handle.level <= level) return SQLITE_OK;
  auto& lock = handle.file->lock;
  for (Handle** owner : {&lock.reserved, &lock.pending, &lock.exclusive})
    if (*owner == &handle) *owner = nullptr;
  if (level == SQLITE_LOCK_NONE) --lock.shared;
  handle.level = level;
  return SQLITE_OK;
}

int check_reserved(sqlite3_file* file, int* held) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  *held = handle.file->lock.reserved != nullptr ? 1 : 0;
  return SQLITE_OK;
}

int file_control(sqlite3_file*, int, void*) {
  return SQLITE_NOTFOUND;
}
int sector_size(sqlite3_file*) {
  return 4096;
}
int characteristics(sqlite3_file*) {
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

int shm_map(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  *out = nullptr;
  if (handle.is_dead()) return SQLITE_IOERR_SHMMAP;
  auto& shm = handle.file->shm;
  if (!handle.has_shm) {
    handle.has_shm = true;
    ++shm.users;
  }
  const auto wanted = static_cast<std::size_t>(region) + 1;
  if (shm.regions.size() < wanted && extend == 0) return SQLITE_OK;
  while (shm.regions.size() < wanted)
    shm.regions.push_back(std::make_unique<char[]>(static_cast<std::size_t>(size)));
  *out = shm.regions[wanted - 1].get();
  return SQLITE_OK;
}

int shm_lock(sqlite3_file* file, int first, int count, int flags) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  if (handle.is_stale()) return SQLITE_OK;
  auto& shm = handle.file->shm;
  const auto mask = static_cast<std::uint16_t>(((1 << count) - 1) << first);
  if ((flags & SQLITE_SHM_UNLOCK) != 0) {
    for (int i = first; i < first + count; ++i) {
      const auto bit = static_cast<std::uint16_t>(1 << i);
      if ((handle.shm_shared & bit) != 0) --shm.shared[i];
      if ((handle.shm_exclusive & bit) != 0) shm.exclusive[i] = false;
    }
    handle.shm_shared = static_cast<std::uint16_t>(handle.shm_shared & ~mask);
    handle.shm_exclusive = static_cast<std::uint16_t>(handle.shm_exclusive & ~mask);
    return SQLITE_OK;
  }
  if (handle.disk->is_crashed) return SQLITE_IOERR_SHMLOCK;
  const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
  for (int i = first; i < first + count; ++i)
    if (shm.exclusive[i] || (exclusive && shm.shared[i] > 0)) return SQLITE_BUSY;
  for (int i = first; i < first + count; ++i) {
    if (exclusive) {
      shm.exclusive[i] = true;
    } else {
      ++shm.shared[i];
    }
  }
  auto& held = exclusive ? handle.shm_exclusive : handle.shm_shared;
  held = static_cast<std::uint16_t>(held | mask);
  return SQLITE_OK;
}

void shm_barrier(sqlite3_file* file) {
  std::lock_guard guard(of(file).disk->mutex);
}

int shm_unmap(sqlite3_file* file, int remove) {
  auto& handle = of(file);
  std::lock_guard guard(handle.disk->mutex);
  if (!handle.has_shm) return SQLITE_OK;
  handle.has_shm = false;
  if (handle.is_stale()) return SQLITE_OK;
  if (--handle.file->shm.users == 0 && remove != 0) handle.file->shm = {};
  return SQLITE_OK;
}

constexpr sqlite3_io_methods kMethods = {
    2,         close_file,  read_file,      write_file,   truncate_file, sync_file,       file_size,
    lock_file, unlock_file, check_reserved, file_control, sector_size,   characteristics, shm_map,
    shm_lock,  shm_barrier, shm_unmap,      nullptr,      nullptr};

FaultDisk::Impl& disk_of(sqlite3_vfs* vfs) {
  return *static_cast<FaultDisk::Impl*>(vfs->pAppData);
}

int open_path(sqlite3_vfs* vfs, const char* path, sqlite3_file* out, int flags, int* out_flags) {
  auto& disk = disk_of(vfs);
  std::lock_guard guard(disk.mutex);
  out->pMethods = nullptr;
  if (disk.is_crashed) return SQLITE_CANTOPEN;
  auto file = path != nullptr ? disk.find(path) : std::make_shared<File>();
  if (file == nullptr) {
    if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
    file = disk.files[path] = std::make_shared<File>();
  }
  auto* handle = new (out) Handle{};
  handle->pMethods = &kMethods;
  handle->disk = &disk;
  handle->file = std::move(file);
  handle->generation = disk.generation;
  handle->level = SQLITE_LOCK_NONE;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int delete_path(sqlite3_vfs* vfs, const char* path, int sync_folder) {
  auto& disk = disk_of(vfs);
  std::lock_guard guard(disk.mutex);
  if (disk.is_crashed) return SQLITE_IOERR_DELETE;
  const auto it = disk.files.find(path);
  if (it == disk.files.end()) return SQLITE_IOERR_DELETE_NOENT;
  if (sync_folder == 0 && it->second->entry_is_durable) disk.deleted[path] = it->second;
  disk.files.erase(it);
  disk.count();
  return SQLITE_OK;
}

int access_path(sqlite3_vfs* vfs, const char* path, int flags, int* out) {
  auto& disk = disk_of(vfs);
  std::lock_guard guard(disk.mutex);
  const auto file = disk.find(path);
  // As SQLite's own: an empty journal counts as none.
  *out = file != nullptr && (flags != SQLITE_ACCESS_EXISTS || !file->current.empty()) ? 1 : 0;
  return SQLITE_OK;
}

int full_path(sqlite3_vfs*, const char* path, int size, char* out) {
  sqlite3_snprintf(size, out, "%s", path);
  return SQLITE_OK;
}

int randomness(sqlite3_vfs* vfs, int size, char* out) {
  auto& disk = disk_of(vfs);
  std::lock_guard guard(disk.mutex);
  for (int i = 0; i < size; ++i) out[i] = static_cast<char>(disk.random());
  return size;
}

int sleep_micros(sqlite3_vfs*, int micros) {
  std::this_thread::yield();
  return micros;
}

int current_time(sqlite3_vfs*, double* days) {
  *days = 2461000.5;  // in 2025; nothing depends on it
  return SQLITE_OK;
}

int last_error(sqlite3_vfs*, int, char*) {
  return 0;
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
  sqlite3_initialize();
  impl_->name = unique_name();
  auto& vfs = impl_->vfs;
  vfs.iVersion = 1;
  vfs.szOsFile = static_cast<int>(sizeof(Handle));
  vfs.mxPathname = 512;
  vfs.zName = impl_->name.c_str();
  vfs.pAppData = impl_.get();
  vfs.xOpen = open_path;
  vfs.xDelete = delete_path;
  vfs.xAccess = access_path;
  vfs.xFullPathname = full_path;
  vfs.xRandomness = randomness;
  vfs.xSleep = sleep_micros;
  vfs.xCurrentTime = current_time;
  vfs.xGetLastError = last_error;
  REEVE_CHECK(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
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
    out[path] = std::make_shared<const std::string>(file->current);
  return out;
}

void FaultDisk::load(const Image& image) {
  std::lock_guard guard(impl_->mutex);
  ++impl_->generation;
  impl_->files.clear();
  impl_->deleted.clear();
  for (const auto& [path, bytes] : image) {
    auto file = std::make_shared<File>();
    file->current = file->durable = *bytes;
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
