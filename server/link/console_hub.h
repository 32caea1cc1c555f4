// server/link/console_hub.h - pairs clients that attach to consoles with the relays their agents
// open.
//
// Each client has a relay of its own, so a slow reader holds up nobody else, and the agent's ring
// decides what a reader that comes back still gets. The hub gives out tickets and the right to
// write. Any thread.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/mutex.h"
#include "base/random.h"
#include "server/agents/agent_pool.h"
#include "server/rpc/pipe.h"

namespace reeve::server {

enum class ConsoleMode : std::uint8_t { Read, Write, TakeOver };

/// One client on one console. Shared by the client's stream and the agent's relay, which end it in
/// whatever order.
struct ConsoleSession {
  static constexpr std::size_t kOutputBytes = 256u << 10;
  static constexpr std::size_t kInputBytes = 64u << 10;

  std::string vm_uid{};
  std::string host_uid{};
  std::string ticket{};
  Pipe output{kOutputBytes};           ///< agent to client
  Pipe input{kInputBytes};             ///< client to agent
  std::atomic<bool> connected{false};  ///< the agent has opened its relay
  std::atomic<bool> writable{false};   ///< the client may type
};

class ConsoleHub {
 public:
  /// `loop` is the core loop. All outlive the hub.
  ConsoleHub(AgentPool& agents, Random& random, Loop& loop)
      : agents_(agents), random_(random), loop_(loop), self_(std::make_shared<ConsoleHub*>(this)) {}
  ~ConsoleHub() { *self_ = nullptr; }
  ConsoleHub(const ConsoleHub&) = delete;
  ConsoleHub& operator=(const ConsoleHub&) = delete;

  struct Place {
    std::string vm_uid{};
    std::string host_uid{};
    std::int64_t from_offset = -1;
  };
  /// Asks the agent for a relay. The session's output ends with the agent's reason when it refuses,
  /// with Unavailable/HOST_UNREACHABLE when none comes. FailedPrecondition/CONSOLE_WRITER_TAKEN.
  Result<std::shared_ptr<ConsoleSession>> attach(const Place& place, ConsoleMode mode);
  /// Takes a ticket, once. NotFound/TICKET_UNKNOWN, also when another host presents it.
  Result<std::shared_ptr<ConsoleSession>> redeem(const std::string& ticket,
                                                 const std::string& host_uid);
  /// The client is gone: frees its ticket and its right to write.
  void detach(const std::shared_ptr<ConsoleSession>& session);

 private:
  static constexpr auto kRelayTimeout = std::chrono::seconds(15);
  Status claim_writer(const std::shared_ptr<ConsoleSession>& session, ConsoleMode mode);
  void give_up(const std::string& ticket, const Error& why);

  AgentPool& agents_;
  Random& random_;
  Loop& loop_;
  const std::shared_ptr<ConsoleHub*>
      self_;  // null for timers that outlive the hub; read on the loop
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<ConsoleSession>, std::less<>> waiting_
      REEVE_GUARDED_BY(mutex_);  ///< by ticket
  std::map<std::string, std::weak_ptr<ConsoleSession>, std::less<>> writers_
      REEVE_GUARDED_BY(mutex_);  ///< by machine
};

/// A single-use secret for a relay: 16 random bytes in hexadecimal.
std::string new_ticket(Random& random);

}  // namespace reeve::server
