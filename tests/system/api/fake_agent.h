// tests/system/api/fake_agent.h - an agent made of gRPC calls alone: enrols, says what it is told
// to, relays.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "reeve/agent/v1/link_service.grpc.pb.h"
#include "tests/system/api/api_server.h"

namespace reeve::test {

class FakeAgent {
 public:
  using Relay =
      grpc::ClientReaderWriter<agent::v1::RelayConsoleRequest, agent::v1::RelayConsoleResponse>;

  /// Enrols through the API. Not connected yet.
  explicit FakeAgent(const ApiServer& server);
  ~FakeAgent();  ///< hang_up()
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;

  /// Connects and observes one hypervisor with one running guest. Returns the first message's kind.
  agent::v1::ConnectResponse connect(const std::string& claimed_uid);
  void observe_guest(const std::string& guest_uid);
  void hang_up();

  // Said in Hello.
  std::uint64_t epoch = 0;
  std::vector<std::string> features{};
  const std::string& host_uid() const { return host_uid_; }
  std::shared_ptr<grpc::Channel> link() const { return link_; }

  /// What to do with a relay the server asks for; runs on a thread of its own.
  std::function<void(const agent::v1::OpenConsole&, Relay&)> on_console{};
  /// What to do with an import; returns the error or nothing.
  std::function<void(const agent::v1::RunStep&, FakeAgent&)> on_step{};
  void send(const agent::v1::ConnectRequest& message);

 private:
  void serve();
  void open_console(agent::v1::OpenConsole request);

  std::string host_uid_;
  std::shared_ptr<grpc::Channel> link_;
  std::unique_ptr<agent::v1::LinkService::Stub> stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<agent::v1::ConnectRequest, agent::v1::ConnectResponse>>
      stream_;
  std::mutex write_mutex_;
  std::thread reader_;
  std::vector<std::thread> workers_;
};

}  // namespace reeve::test
