// agent/console/guest_console.h - the console of one guest: its ring, the log that fills it, the
// socket that takes input, and what the hypervisor was asked about both.
//
// Asking blocks for as long as the hypervisor pleases; the lock is not held meanwhile, so that
// reading, typing and serving go on. It is held over disk reads of one slice at most.
#pragma once

#include <optional>
#include <string>

#include "agent/console/ring.h"
#include "agent/driver/driver.h"
#include "base/mutex.h"

namespace reeve::agent {

class GuestConsole {
 public:
  /// The ring is opened by the first serve(); one of another size than `ring_bytes` is begun anew.
  GuestConsole(std::string uid, std::string ring_path, std::uint64_t ring_bytes);

  // Any thread.

  /// Nothing, before the first serve(). NotFound/GUEST_FILES_NOT_FOUND when the guest has no
  /// folder.
  Result<ConsoleChunk> read(std::int64_t offset, std::size_t limit);
  /// Keeps bytes for the guest, at most 64 KiB that it has not taken; returns how many. After less
  /// than all, serve() says when to give the rest.
  std::size_t write(std::string_view bytes, Monotonic now);
  /// True while there is input to send or a socket to read.
  bool is_open();

  // The console thread.

  /// Takes what is new and sends what was typed. True when readers should look again: there is
  /// output, or room for input that was refused - and once a second while there is none, so that
  /// who waits for it notices that nobody wants it any more.
  bool serve(Monotonic now);
  /// True when the hypervisor is to be asked something: ask() must follow, on any thread. At most
  /// one is under way, and a question is not repeated within half a second.
  bool begin_asking(Monotonic now);

  // Whoever may block.

  /// Asks for what is missing, log or socket. `console` is null where there is none to ask.
  void ask(SerialConsole* console);

 private:
  struct Socket {
    Fd fd{};
    bool is_device = false;
  };
  static Result<Socket> open_socket(const std::string& path);

  bool wants_log() const REEVE_REQUIRES(mutex_);
  bool wants_socket() const REEVE_REQUIRES(mutex_);
  bool open_ring() REEVE_REQUIRES(mutex_);
  bool take_log() REEVE_REQUIRES(mutex_);
  bool use_socket(Monotonic now) REEVE_REQUIRES(mutex_);
  bool receive() REEVE_REQUIRES(mutex_);
  bool may_type(Monotonic now) REEVE_REQUIRES(mutex_);

  const std::string uid_;
  const std::string ring_path_;
  const std::uint64_t ring_bytes_;
  Mutex mutex_;
  std::optional<ConsoleRing> ring_ REEVE_GUARDED_BY(mutex_);
  std::optional<Error> ring_error_ REEVE_GUARDED_BY(mutex_);
  std::string log_path_ REEVE_GUARDED_BY(mutex_);  ///< empty: not known yet, or there is none
  bool has_log_ REEVE_GUARDED_BY(mutex_) = true;   ///< false: output comes from the socket
  Socket socket_ REEVE_GUARDED_BY(mutex_);
  std::string input_ REEVE_GUARDED_BY(mutex_);
  Monotonic last_input_ REEVE_GUARDED_BY(mutex_){};
  std::optional<Monotonic> refused_ REEVE_GUARDED_BY(mutex_);  ///< input, or told so, last then
  std::optional<Monotonic> last_asked_ REEVE_GUARDED_BY(mutex_);
  bool asking_ REEVE_GUARDED_BY(mutex_) = false;
};

}  // namespace reeve::agent
