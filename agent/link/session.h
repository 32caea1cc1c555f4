// agent/link/session.h - the conversation with the server: hello, epoch, heartbeats, reconnect for
// ever.
//
// Lives on the loop. While the server is away nothing else of the agent stops.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/executor/gate.h"
#include "agent/link/channel.h"
#include "agent/link/outbox.h"
#include "base/loop.h"
#include "base/random.h"
#include "base/thread.h"
#include "proto/features.h"

namespace reeve::agent {

struct SessionSettings {
  std::string host_uid{};
  std::string version{};
  std::string boot_id{};
  std::vector<std::string> features{kAgentFeatures.begin(), kAgentFeatures.end()};
  std::chrono::milliseconds connect_timeout{20'000};  ///< until Welcome
  std::chrono::milliseconds backoff_min{500};
  std::chrono::milliseconds backoff_max{30'000};
};

/// Called on the loop.
struct SessionHandlers {
  std::function<void(const v1::Welcome&)> connected{};
  std::function<void(v1::ConnectResponse)> received{};  ///< between connected and disconnected
  std::function<void()> disconnected{};
};

/// Most bytes a Welcome may ask for between heartbeats, whatever the server says.
inline constexpr std::chrono::milliseconds kMinHeartbeat{200};
inline constexpr std::chrono::milliseconds kMaxHeartbeat{300'000};
/// Silence of this many heartbeats ends a connection.
inline constexpr int kMissedHeartbeats = 3;

class Session {
 public:
  /// References outlive the session. `epoch` is what the outbox keeps.
  Session(Loop& loop, Workers& workers, Random& random, ServerChannel& channel, Outbox& outbox,
          std::uint64_t epoch, SessionSettings settings, SessionHandlers handlers);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  /// False: not connected, the message is dropped.
  bool send(v1::ConnectRequest message);
  bool is_connected() const { return state_ == State::Connected; }
  /// Messages waiting to be written; 0 when not connected.
  std::size_t backlog() const { return connection_ ? connection_->backlog() : 0; }
  std::uint64_t epoch() const { return epoch_; }

 private:
  //  Waiting --backoff over--> Greeting --Welcome--> Fencing --epoch kept--> Connected
  //     ^------- closed, refused, lower epoch, too slow, silent -------------------'
  enum class State : std::uint8_t { Waiting, Greeting, Fencing, Connected };

  void connect();
  void on_message(std::uint64_t attempt, v1::ConnectResponse message);
  void welcome(const v1::Welcome& welcome);
  void established(const v1::Welcome& welcome);
  void deliver(v1::ConnectResponse message);
  /// Ends the connection and waits before the next one.
  void drop(const Error& why);
  void schedule_reconnect();
  void watch_heartbeat();

  Workers& workers_;
  Random& random_;
  ServerChannel& channel_;
  Outbox& outbox_;
  const Clock& clock_;
  const SessionSettings settings_;
  const SessionHandlers handlers_;
  const std::shared_ptr<Gate> gate_;

  State state_ = State::Waiting;
  std::uint64_t epoch_;
  std::uint64_t attempt_ =
      0;  ///< names a connection, so that a late event of an old one is dropped
  std::unique_ptr<Connection> connection_{};
  std::vector<v1::ConnectResponse> held_{};  ///< came while the epoch was being kept
  std::chrono::milliseconds backoff_;
  std::chrono::milliseconds heartbeat_{5'000};
  Monotonic heard_{};
  Monotonic spoke_{};
  TimerId timer_ = 0;
};

}  // namespace reeve::agent
