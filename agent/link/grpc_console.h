// agent/link/grpc_console.h - relays consoles to the server, one stream each, with the server's
// ticket.
#pragma once

#include "agent/console/consoles.h"
#include "agent/link/channel.h"
#include "agent/link/grpc_link.h"

namespace reeve::agent {

/// At most 64 relays at a time. What cannot be relayed is refused on a relay that says why; beyond
/// 128, too many for that, requests time out at the server.
class GrpcConsoles final : public ConsoleRelays {
 public:
  /// Both outlive the object, and `consoles` every relay: end the link's channel first.
  GrpcConsoles(Consoles& consoles, GrpcLink& link);
  ~GrpcConsoles() override;  ///< ends all relays and waits for them
  GrpcConsoles(const GrpcConsoles&) = delete;
  GrpcConsoles& operator=(const GrpcConsoles&) = delete;

  void open(const v1::OpenConsole& request) override;

 private:
  class Relay;
  void gone(Relay* relay);

  Consoles& consoles_;
  GrpcLink& link_;
  Mutex mutex_;
  CondVar empty_;
  std::map<Relay*, std::unique_ptr<Relay>> relays_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::agent
