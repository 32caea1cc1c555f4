// agent/console/consoles.h - the consoles of all guests of this host: one thread fills the rings,
// wakes readers and sends input.
//
// A guest somebody reads is looked at every 20 ms, the others every 2 s: that bounds what the
// hypervisor's log must hold meanwhile. Any thread may call.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "agent/console/ring.h"
#include "agent/driver/driver.h"
#include "agent/storage/store.h"
#include "base/mutex.h"

namespace reeve::agent {

class Consoles {
 public:
  using Drivers = std::map<std::string, Driver*, std::less<>>;
  /// `guests_dir` has a folder for each guest; the ring is in it. All outlive the object.
  /// Rings of another size than `ring_bytes` are begun anew.
  Consoles(std::string guests_dir, Store& store, Drivers drivers,
           std::uint64_t ring_bytes = kConsoleRingBytes);
  ~Consoles();
  Consoles(const Consoles&) = delete;
  Consoles& operator=(const Consoles&) = delete;

  using ReaderId = std::uint64_t;
  /// `wake` is called on the console thread when there may be something to read.
  /// NotFound/GUEST_FILES_NOT_FOUND.
  Result<ReaderId> attach(const std::string& uid, std::function<void()> wake);
  /// When it returns, `wake` is not running and never will again. Not from `wake`.
  void detach(ReaderId reader);
  Result<ConsoleChunk> read(const std::string& uid, std::int64_t offset, std::size_t limit);
  /// Types into the console, in order; what a guest that is off cannot take is dropped, and all
  /// beyond 64 KiB.
  void write(const std::string& uid, std::string bytes);

 private:
  struct Guest {
    std::optional<ConsoleRing> ring{};
    std::string log_path{};  ///< empty: not asked yet, or there is none
    bool has_log = true;     ///< false: output comes from the socket
    Fd socket{};
    std::string input{};
    Monotonic last_input{};
    Monotonic last_connect{};
    int readers = 0;
  };
  struct Reader {
    std::string uid{};
    std::function<void()> wake{};
  };

  void run();
  /// True when the guest's ring has grown.
  bool serve(const std::string& uid, Guest& guest);
  bool take_log(const std::string& uid, Guest& guest);
  bool use_socket(const std::string& uid, Guest& guest);
  bool receive(Guest& guest);
  void scan();
  SerialConsole* console_of(const std::string& uid);
  Status open_ring(const std::string& uid, Guest& guest) const;

  const std::string guests_dir_;
  Store& store_;
  const Drivers drivers_;
  const std::uint64_t ring_bytes_;
  Mutex mutex_;  // guards the maps and every Guest; held over disk reads of one slice at most
  CondVar wake_thread_;
  CondVar woken_;
  std::map<std::string, Guest, std::less<>> guests_ REEVE_GUARDED_BY(mutex_);
  std::map<ReaderId, Reader> readers_ REEVE_GUARDED_BY(mutex_);
  ReaderId next_reader_ REEVE_GUARDED_BY(mutex_) = 1;
  ReaderId waking_ REEVE_GUARDED_BY(mutex_) = 0;
  bool stopping_ REEVE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace reeve::agent
