// agent/console/consoles.h - the consoles of all guests of this host: one thread fills the rings,
// wakes readers and sends input.
//
// A guest somebody reads is looked at every 20 ms, the others every 2 s: that bounds what the
// hypervisor's log must hold meanwhile. Any thread may call; no call waits for a hypervisor. Each
// hypervisor has a thread of its own that asks it where its guests' consoles are, so that one that
// hangs holds no guest of another, and none whose console is known.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/console/guest_console.h"
#include "agent/driver/driver.h"
#include "agent/storage/store.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace reeve::agent {

class Consoles {
 public:
  using Drivers = std::map<std::string, Driver*, std::less<>>;
  /// `guests_dir` has a folder for each guest; the ring is in it. All outlive the object.
  /// Rings of another size than `ring_bytes` are begun anew.
  Consoles(std::string guests_dir, Store& store, Drivers drivers,
           std::uint64_t ring_bytes = kConsoleRingBytes);
  ~Consoles();  ///< waits for a hypervisor that is being asked
  Consoles(const Consoles&) = delete;
  Consoles& operator=(const Consoles&) = delete;

  using ReaderId = std::uint64_t;
  /// `wake` is called on the console thread when there may be something to read, and once when it
  /// turns out that there is nothing to read from. Does not touch the disk.
  /// InvalidArgument/BAD_UID.
  Result<ReaderId> attach(const std::string& uid, std::function<void()> wake);
  /// When it returns, `wake` is not running and never will again. Not from `wake`.
  void detach(ReaderId reader);
  /// An empty chunk until the console thread has opened the ring. NotFound/GUEST_FILES_NOT_FOUND.
  Result<ConsoleChunk> read(const std::string& uid, std::int64_t offset, std::size_t limit);
  /// Types into the console, in order, and returns how many bytes were taken: of what the guest
  /// has not taken yet 64 KiB are kept. Give the rest after a wake. What a guest that is off has
  /// not taken in 5 s is dropped.
  std::size_t write(const std::string& uid, std::string_view bytes);

 private:
  /// Shared by the map and by whoever works on the guest outside the map's lock.
  struct Entry {
    std::shared_ptr<GuestConsole> console{};
    int readers = 0;
  };
  struct Reader {
    std::string uid{};
    std::function<void()> wake{};
  };
  struct Served {
    std::string uid{};
    std::shared_ptr<GuestConsole> console{};
    bool is_read = false;
  };

  void run();
  void scan();
  std::vector<Served> guests();
  std::shared_ptr<GuestConsole> find(const std::string& uid);
  Entry& entry_of(const std::string& uid) REEVE_REQUIRES(mutex_);
  void ask(const Served& guest);
  void call_thread();
  void wake_readers_of(const std::string& uid);

  const std::string guests_dir_;
  Store& store_;
  const Drivers drivers_;
  const std::uint64_t ring_bytes_;
  Mutex mutex_;  // guards the maps; nothing slow happens under it
  CondVar wake_thread_;
  CondVar woken_;
  std::map<std::string, Entry, std::less<>> guests_ REEVE_GUARDED_BY(mutex_);
  std::map<ReaderId, Reader> readers_ REEVE_GUARDED_BY(mutex_);
  ReaderId next_reader_ REEVE_GUARDED_BY(mutex_) = 1;
  ReaderId waking_ REEVE_GUARDED_BY(mutex_) = 0;
  bool called_ REEVE_GUARDED_BY(mutex_) = false;  ///< the thread should look again at once
  bool stopping_ REEVE_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::unique_ptr<WorkerPool>, std::less<>> askers_{};  // by hypervisor
  std::thread thread_;
};

}  // namespace reeve::agent
