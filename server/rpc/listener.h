// server/rpc/listener.h - a gRPC port with TLS and limits on everything a peer can make us hold or
// wait for.
//
// Debian's gRPC 1.51 has known denial-of-service flaws; the limits here and the hostile-frame test
// (tests/system/api/api_hostile_test.cpp) are our side of it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server.h>

#include "base/status.h"

namespace reeve::server {

enum class ClientCertificate : std::uint8_t { NotAsked, Required };

struct ListenerOptions {
  std::string address{};  ///< "host:port"; port 0 takes a free one
  std::filesystem::path key{};
  std::filesystem::path chain{};  ///< read again every minute, so that renewal needs no restart
  std::filesystem::path ca{};     ///< what client certificates are verified against
  ClientCertificate clients = ClientCertificate::NotAsked;
  std::size_t memory_bytes = 256u << 20;
  int message_bytes = 4 << 20;  ///< a larger message ends its call with RESOURCE_EXHAUSTED
};

class Listener {
 public:
  /// Unavailable/LISTEN_FAILED, e.g. when the port is taken. `services` outlive the listener.
  static Result<std::unique_ptr<Listener>> create(const ListenerOptions& options,
                                                  const std::vector<grpc::Service*>& services);
  ~Listener();  ///< stop()
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int port() const { return port_; }
  /// Takes no new calls, cancels what is open, waits for it to end. The health service says
  /// NOT_SERVING.
  void stop();

 private:
  Listener() = default;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace reeve::server
