// server/agents/agent_pool.h - the sessions of connected agents, without gRPC.
//
// The link adaptor authenticates a stream (certificate key -> host uid), then hands its messages
// over. The pool answers Hello, applies observations to the inventory, and passes step messages to
// the job runner.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "reeve/agent/v1/link_service.pb.h"

namespace reeve::server {

/// Towards one agent: implemented by the link adaptor and by the simulator. Called on the core loop
/// only.
class AgentChannel {
 public:
  virtual ~AgentChannel() = default;
  /// Queues a message; never blocks. Messages arrive in order or not at all.
  virtual void send(const agent::v1::ConnectResponse& message) = 0;
  /// Ends the stream once what is queued was sent.
  virtual void close() = 0;
};

using SessionId = std::uint64_t;

class AgentPool {
 public:
  virtual ~AgentPool() = default;

  /// A stream whose certificate's key belongs to `host_uid` (an enrolled host). Any thread; all of
  /// these post to the core loop, in order.
  virtual SessionId open(std::string host_uid, std::shared_ptr<AgentChannel> channel) = 0;
  virtual void receive(SessionId session, agent::v1::ConnectRequest message) = 0;
  /// The stream has ended, whoever ended it. Afterwards the channel is not used.
  virtual void closed(SessionId session) = 0;

  /// Sends a message that needs no journal (OpenConsole). Any thread. Unavailable/HOST_UNREACHABLE
  /// comes through `sent` on the core loop when the host is not connected.
  virtual void send(const std::string& host_uid, agent::v1::ConnectResponse message,
                    std::function<void(Status)> sent) = 0;
  /// Ends the session of a host, e.g. because it was revoked. Any thread.
  virtual void disconnect(const std::string& host_uid, const std::string& reason,
                          const std::string& message) = 0;
};

}  // namespace reeve::server
