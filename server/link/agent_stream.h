// server/link/agent_stream.h - one agent's Connect stream, as the AgentPool's channel.
//
// Reads the next message only when the core loop has taken the one before, so an agent cannot fill
// the server's memory. Writes are queued up to kMaxQueuedBytes; an agent that does not read is cut
// off, and resynchronises when it comes back.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "base/loop.h"
#include "base/mutex.h"
#include "server/agents/agent_pool.h"
#include "server/rpc/turn.h"

namespace reeve::server {

using ConnectReactor =
    grpc::ServerBidiReactor<agent::v1::ConnectRequest, agent::v1::ConnectResponse>;

/// Owned by gRPC until OnDone and by the pool until closed().
class AgentStream final : public ConnectReactor,
                          public AgentChannel,
                          public std::enable_shared_from_this<AgentStream> {
 public:
  static constexpr std::size_t kMaxQueuedBytes = 16u << 20;

  /// `loop` is the core loop. All outlive the stream.
  static std::shared_ptr<AgentStream> create(std::string host_uid, AgentPool& pool, Loop& loop);

  void send(const agent::v1::ConnectResponse& message) override;
  void close() override;
  /// Ends the stream at once: the server stops.
  void cut();

 private:
  AgentStream(AgentPool& pool, Loop& loop) : pool_(pool), loop_(loop) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override { cut(); }
  void OnDone() override;
  void read_next();
  void advance() {
    if (turn_.take()) pump();
  }
  void pump();
  /// True when a write was begun or the stream was finished.
  bool start_write();

  AgentPool& pool_;
  Loop& loop_;
  SessionId session_ = 0;
  std::shared_ptr<AgentStream> self_;  // until OnDone
  agent::v1::ConnectRequest reading_;
  agent::v1::ConnectResponse writing_;
  Turn turn_;
  Mutex mutex_;
  std::deque<agent::v1::ConnectResponse> queue_ REEVE_GUARDED_BY(mutex_);
  std::size_t queued_bytes_ REEVE_GUARDED_BY(mutex_) = 0;
  bool closing_ REEVE_GUARDED_BY(mutex_) = false;   ///< finish after what is queued
  bool finished_ REEVE_GUARDED_BY(mutex_) = false;  ///< Finish was called
};

/// A stream that gets a Refusal and ends.
class RefusedAgent final : public ConnectReactor {
 public:
  RefusedAgent(std::string reason, std::string message);

 private:
  void OnDone() override { delete this; }
  agent::v1::ConnectResponse refusal_;
};

}  // namespace reeve::server
