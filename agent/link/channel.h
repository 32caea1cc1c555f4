// agent/link/channel.h - the way to the server, without saying how: gRPC in the daemon, a queue in
// the simulator.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "base/status.h"
#include "reeve/agent/v1/link_service.pb.h"

namespace reeve::agent {

/// What a connection reports. Any thread, one call at a time, in order; also from within connect()
/// and send(). Receivers only post.
struct ConnectionEvents {
  std::function<void(v1::ConnectResponse message)> received{};
  /// The last event. Not called when the agent ends the connection.
  std::function<void(Error why)> closed{};
};

/// One stream. Destroying it ends the stream; no event begins after that.
class Connection {
 public:
  virtual ~Connection() = default;
  /// Queues a message; delivered in order, or the connection closes. Loop thread.
  virtual void send(v1::ConnectRequest message) = 0;
  /// Messages queued and not yet written: what may be lost is not queued behind a long backlog.
  virtual std::size_t backlog() const = 0;
};

class ServerChannel {
 public:
  virtual ~ServerChannel() = default;
  /// Begins a stream; returns at once. Failing to reach the server is a `closed` event.
  virtual std::unique_ptr<Connection> connect(ConnectionEvents events) = 0;
};

/// Opens the side streams the server asks for. Called on the loop; returns at once.
class ConsoleRelays {
 public:
  virtual ~ConsoleRelays() = default;
  virtual void open(const v1::OpenConsole& request) = 0;
};

}  // namespace reeve::agent
