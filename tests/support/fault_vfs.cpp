#include <new>
#include <thread>

#include "base/check.h"
#include "tests/support/fault_disk_files.h"

// What SQLite calls. Every call takes the disk's mutex; a handle from before a restart finds itself
// stale.

namespace reeve::test {

namespace fault {
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

}  // namespace fault

namespace {

using fault::File;
using fault::Handle;
using fault::Pending;

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
  content.read(begin, static_cast<char*>(out), length);
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
  *out = file != nullptr && (flags != SQLITE_ACCESS_EXISTS || file->current.size() != 0) ? 1 : 0;
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

}  // namespace

void register_vfs(FaultDisk::Impl& impl) {
  sqlite3_initialize();
  auto& vfs = impl.vfs;
  vfs.iVersion = 1;
  vfs.szOsFile = static_cast<int>(sizeof(Handle));
  vfs.mxPathname = 512;
  vfs.zName = impl.name.c_str();
  vfs.pAppData = &impl;
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

}  // namespace reeve::test
