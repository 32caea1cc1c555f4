#include "tests/system/api/fake_agent.h"

#include <catch2/catch.hpp>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "base/crypto/x509.h"
#include "reeve/agent/v1/enrollment_service.grpc.pb.h"
#include "reeve/v1/host_service.pb.h"

namespace reeve::test {

FakeAgent::FakeAgent(const ApiServer& server) {
  v1::EnrollToken token;
  REQUIRE(token.ParseFromString(server.call_json("HostService/CreateEnrollToken", "{}").response));
  const auto key = crypto::generate_key_pem().value();
  const auto stub = agent::v1::EnrollmentService::NewStub(server.channel());
  grpc::ClientContext context;
  agent::v1::EnrollRequest request;
  request.set_token(token.token());
  request.set_csr_pem(crypto::make_csr_pem(key, "agent").value());
  request.set_hostname("fake");
  agent::v1::EnrollResponse enrolled;
  const auto status = stub->Enroll(&context, request, &enrolled);
  INFO(status.error_message());
  REQUIRE(status.ok());
  host_uid_ = enrolled.host_uid();
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = enrolled.ca_pem();
  tls.pem_private_key = key;
  tls.pem_cert_chain = enrolled.certificate_pem();
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride("reeve-server");
  link_ = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server.link_port()),
                                    grpc::SslCredentials(tls), arguments);
  stub_ = agent::v1::LinkService::NewStub(link_);
}

FakeAgent::~FakeAgent() {
  hang_up();
}

agent::v1::ConnectResponse FakeAgent::connect(const std::string& claimed_uid) {
  agent::v1::ConnectRequest hello;
  hello.mutable_hello()->set_host_uid(claimed_uid);
  hello.mutable_hello()->set_version("0.1.0");
  hello.mutable_hello()->set_boot_id("boot");
  hello.mutable_hello()->set_epoch(epoch);
  *hello.mutable_hello()->mutable_features() = {features.begin(), features.end()};
  agent::v1::ConnectResponse first;
  eventually("the server answers Hello", [&] {  // it may have been restarted
    context_ = std::make_unique<grpc::ClientContext>();
    stream_ = stub_->Connect(context_.get());
    send(hello);
    if (stream_->Read(&first)) return true;
    hang_up();
    return false;
  });
  if (first.has_welcome()) reader_ = std::thread([this] { serve(); });
  return first;
}

void FakeAgent::observe_guest(const std::string& guest_uid) {
  agent::v1::ConnectRequest message;
  auto& observation = *message.mutable_observation();
  observation.set_sequence(1);
  observation.set_full(true);
  observation.mutable_observe_time()->set_seconds(1'800'000'000);
  observation.mutable_host()->set_memory_mib(65536);
  observation.mutable_host()->mutable_cpu()->set_threads(16);
  observation.mutable_host()->set_store_free_bytes(1LL << 40);
  auto& hypervisor = *observation.add_hypervisors();
  hypervisor.set_id("sim");
  hypervisor.set_kind(v1::HYPERVISOR_KIND_SIM);
  hypervisor.set_available(true);
  for (const auto* capability : {"console", "events", "pause"})
    hypervisor.add_capabilities(capability);
  auto& guest = *observation.add_guests();
  guest.set_uid(guest_uid);
  guest.set_display_name("guest");
  guest.set_hypervisor("sim");
  guest.set_state(v1::VirtualMachine::STATE_RUNNING);
  guest.set_cpus(1);
  guest.set_memory_mib(64);
  send(message);
}

void FakeAgent::send(const agent::v1::ConnectRequest& message) {
  const std::scoped_lock lock(write_mutex_);
  stream_->Write(message);
}

void FakeAgent::serve() {
  agent::v1::ConnectResponse message;
  while (stream_->Read(&message)) {
    if (message.has_heartbeat()) {
      agent::v1::ConnectRequest alive;
      alive.mutable_heartbeat();
      send(alive);
    }
    if (message.has_open_console() && on_console)
      workers_.emplace_back([this, request = message.open_console()] { open_console(request); });
    if (message.has_run_step() && on_step)
      workers_.emplace_back([this, step = message.run_step()] { on_step(step, *this); });
  }
}

void FakeAgent::open_console(agent::v1::OpenConsole request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  const auto relay = stub_->RelayConsole(&context);
  agent::v1::RelayConsoleRequest ticket;
  ticket.set_ticket(request.ticket());
  relay->Write(ticket);
  on_console(request, *relay);
  context.TryCancel();
  static_cast<void>(relay->Finish());
}

void FakeAgent::hang_up() {
  if (context_) context_->TryCancel();
  if (reader_.joinable()) reader_.join();
  for (auto& worker : workers_) worker.join();
  workers_.clear();
  if (stream_) static_cast<void>(stream_->Finish());
  stream_.reset();
  context_.reset();
}

}  // namespace reeve::test
