// The gRPC side of the agent against a small server with real certificates on loopback.
#include "agent/link/grpc_link.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>

#include <catch2/catch.hpp>
#include <grpcpp/grpcpp.h>

#include "agent/link/grpc_console.h"
#include "agent/link/grpc_enrollment.h"
#include "base/crypto/authority.h"
#include "base/crypto/enroll_token.h"
#include "base/crypto/x509.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "reeve/agent/v1/enrollment_service.grpc.pb.h"
#include "reeve/agent/v1/link_service.grpc.pb.h"
#include "reeve/v1/error_detail.pb.h"
#include "tests/agent/console/console_host.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace reeve::agent;
using reeve::test::TempDir;
namespace av1 = reeve::agent::v1;
using namespace std::chrono_literals;

namespace {

const std::string kHost = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

/// What another thread has said, in order.
class Told {
 public:
  void add(std::string text) {
    const std::lock_guard lock(mutex_);
    said_.push_back(std::move(text));
    change_.notify_all();
  }
  /// Empty when nothing comes.
  std::string next() {
    std::unique_lock lock(mutex_);
    if (!change_.wait_for(lock, 60s, [&] { return !said_.empty(); })) return {};
    auto text = std::move(said_.front());
    said_.pop_front();
    return text;
  }

 private:
  std::mutex mutex_;
  std::condition_variable change_;
  std::deque<std::string> said_;
};

/// Waits for something another thread does.
class Latch {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    change_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return change_.wait_for(lock, 10s, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable change_;
  bool open_ = false;
};

class Enrolling final : public av1::EnrollmentService::Service {
 public:
  explicit Enrolling(const crypto::Authority& authority) : authority_(authority) {}
  grpc::Status Enroll(grpc::ServerContext*, const av1::EnrollRequest* request,
                      av1::EnrollResponse* response) override {
    ++calls;
    if (lost-- > 0) return {grpc::StatusCode::UNAVAILABLE, "the answer is lost"};
    response->set_host_uid(kHost);
    response->set_certificate_pem(issue(request->csr_pem()));
    response->set_ca_pem("not looked at");
    response->set_link_address(":" + std::to_string(link_port));
    return grpc::Status::OK;
  }
  grpc::Status Renew(grpc::ServerContext*, const av1::RenewRequest* request,
                     av1::RenewResponse* response) override {
    ++calls;
    response->set_certificate_pem(issue(request->csr_pem()));
    return grpc::Status::OK;
  }

  std::atomic<int> calls{0};
  std::atomic<int> lost{0};  ///< answers of Enroll that do not arrive
  int link_port = 0;

 private:
  std::string issue(const std::string& csr) const {
    return authority_.issue_client(csr, kHost, RealClock::instance().wall()).value();
  }
  const crypto::Authority& authority_;
};

class Linking final : public av1::LinkService::Service {
 public:
  grpc::Status Connect(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<av1::ConnectResponse, av1::ConnectRequest>* stream) override {
    av1::ConnectRequest message;
    while (stream->Read(&message)) {
      av1::ConnectResponse reply;
      if (message.has_hello()) {
        reply.mutable_welcome()->set_epoch(5);
        stream->Write(reply);
      }
      if (message.has_step_result()) return grpc::Status::OK;  // enough heard
    }
    left.open();
    return grpc::Status::OK;
  }
  grpc::Status ReceiveUpload(grpc::ServerContext*, const av1::ReceiveUploadRequest* request,
                             grpc::ServerWriter<av1::ReceiveUploadResponse>* writer) override {
    if (request->ticket() == "gone") {
      reeve::v1::ErrorDetail detail;
      detail.set_reason("UPLOAD_INTERRUPTED");
      return {grpc::StatusCode::ABORTED, "the client hung up", detail.SerializeAsString()};
    }
    if (request->ticket() != "good") return {grpc::StatusCode::PERMISSION_DENIED, "no"};
    for (int i = 0; i < 100; ++i) {
      av1::ReceiveUploadResponse piece;
      piece.set_data(std::string(10'000, static_cast<char>('a' + i % 26)));
      if (!writer->Write(piece)) break;
    }
    return grpc::Status::OK;
  }
  /// Ticket "paste": types `paste`. Any other: types without end until the relay is cut after 300
  /// ms.
  grpc::Status RelayConsole(grpc::ServerContext* context,
                            grpc::ServerReaderWriter<av1::RelayConsoleResponse,
                                                     av1::RelayConsoleRequest>* stream) override {
    av1::RelayConsoleRequest message;
    stream->Read(&message);
    if (message.ticket() == "look") {
      if (!stream->Read(&message)) return {};
      if (message.has_refusal()) refusals.add(message.refusal().detail().reason());
      if (message.has_output()) ++relays;
      return {};
    }
    ++relays;
    if (message.ticket() == "hold") {
      while (stream->Read(&message)) {
      }
      return {};
    }
    const bool whole = message.ticket() == "paste";
    std::thread cutter([context, whole] {
      if (!whole) std::this_thread::sleep_for(300ms);
      if (!whole) context->TryCancel();
    });
    av1::RelayConsoleResponse input;
    bool open = true;
    for (std::size_t at = 0; open && (!whole || at < paste.size()); at += 16384) {
      input.set_input(whole ? paste.substr(at, 16384) : std::string(16384, 'x'));
      open = stream->Write(input);
    }
    while (open && stream->Read(&message)) {
    }
    cutter.join();
    return grpc::Status::OK;
  }
  std::atomic<int> relays{0};
  Told refusals;  ///< reasons
  const std::string paste = a_paste(256u << 10);
  Latch left;
};

/// An API port that anyone may call and a link port for certificates of its CA only.
struct Server {
  Server() {
    const auto key = crypto::generate_key_pem().value();
    const auto chain =
        authority.issue_server(key, {"127.0.0.1"}, RealClock::instance().wall()).value() +
        authority.certificate_pem();
    grpc::SslServerCredentialsOptions open;
    open.pem_key_cert_pairs = {{key, chain}};
    grpc::SslServerCredentialsOptions mutual(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    mutual.pem_key_cert_pairs = {{key, chain}};
    mutual.pem_root_certs = authority.certificate_pem();
    api = serve(enrolling, open, api_port);
    link = serve(linking, mutual, enrolling.link_port);
  }
  ~Server() {
    api->Shutdown(std::chrono::system_clock::now());
    link->Shutdown(std::chrono::system_clock::now());
  }
  static std::unique_ptr<grpc::Server> serve(grpc::Service& service,
                                             const grpc::SslServerCredentialsOptions& options,
                                             int& port) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port);
    builder.RegisterService(&service);
    return builder.BuildAndStart();
  }
  EnrollOptions options() {
    return {.server = "127.0.0.1:" + std::to_string(api_port),
            .token = crypto::make_enroll_token(authority.fingerprint(), SystemRandom::instance()),
            .hostname = "h1"};
  }

  const crypto::Authority authority =
      crypto::Authority::make("test", RealClock::instance().wall()).value();
  Enrolling enrolling{authority};
  Linking linking{};
  int api_port = 0;
  std::unique_ptr<grpc::Server> api{};
  std::unique_ptr<grpc::Server> link{};
};

struct Enrolled {
  Enrolled() { REQUIRE(enroll(files, server.options()).ok()); }
  TempDir dir;
  Server server;
  IdentityFiles files{dir.path().string()};
};

}  // namespace

TEST_CASE("a host enrols once, with the server its token names", "[agent]") {
  TempDir dir;
  Server server;
  const IdentityFiles files(dir.path().string());
  auto stranger = server.options();
  stranger.token = crypto::make_enroll_token(std::string(64, 'a'), SystemRandom::instance());
  CHECK(enroll(files, stranger).error().reason() == "SERVER_NOT_TRUSTED");
  CHECK(server.enrolling.calls == 0);
  CHECK_FALSE(files.is_enrolled());
  for (const char* address : {"", "host", "host:", "host:0", "host:99999", ":443"}) {
    auto wrong = server.options();
    wrong.server = address;
    CHECK(enroll(files, wrong).error().reason() == "BAD_ADDRESS");
  }
  const auto identity = enroll(files, server.options());
  REQUIRE(identity.ok());
  CHECK(identity.value().host_uid() == kHost);
  CHECK(identity.value().link_address() ==
        "127.0.0.1:" + std::to_string(server.enrolling.link_port));
  CHECK(files.credentials().value().ca_pem.find("CERTIFICATE") != std::string::npos);
  CHECK(enroll(files, server.options()).error().reason() == "ALREADY_ENROLLED");
}

TEST_CASE("an enrolment whose answer was lost is asked for again with the same key", "[agent]") {
  TempDir dir;
  Server server;
  server.enrolling.lost = 1;
  const IdentityFiles files(dir.path().string());
  const auto key = files.key().value();
  CHECK(enroll(files, server.options()).ok());
  CHECK(server.enrolling.calls == 2);
  CHECK(files.credentials().value().key_pem == key);
}

TEST_CASE("an expired certificate is due and is renewed with the same key", "[agent]") {
  Enrolled host;
  const auto key = host.files.key().value();
  const auto now = RealClock::instance().wall();
  CHECK_FALSE(host.files.validity().value().is_due(now));
  const auto csr = crypto::make_csr_pem(key, kHost).value();
  const auto old =
      host.server.authority.issue_client(csr, kHost, now - std::chrono::days(60)).value();
  REQUIRE(host.files.keep_certificate(old, host.server.authority.certificate_pem()).ok());
  CHECK(host.files.validity().value().end < now);
  CHECK(host.files.validity().value().is_due(now));
  REQUIRE(renew(host.files).ok());
  CHECK(host.files.validity().value().end > now + std::chrono::days(29));
  CHECK(host.files.key().value() == key);
}

TEST_CASE("a certificate for another key or of another CA is not kept", "[agent]") {
  Enrolled host;
  const auto now = RealClock::instance().wall();
  const auto other = crypto::generate_key_pem().value();
  const auto for_other =
      host.server.authority.issue_client(crypto::make_csr_pem(other, kHost).value(), kHost, now)
          .value();
  const auto ca = host.server.authority.certificate_pem();
  CHECK_FALSE(host.files.keep_certificate(for_other, ca).ok());
  const auto rogue = crypto::Authority::make("rogue", now).value();
  const auto csr = crypto::make_csr_pem(host.files.key().value(), kHost).value();
  CHECK_FALSE(host.files.keep_certificate(rogue.issue_client(csr, kHost, now).value(), ca).ok());
}

TEST_CASE("the link says hello, hears welcome, and tells when the server ends it", "[agent]") {
  Enrolled host;
  GrpcLink link(host.files, host.files.identity().value().link_address());
  Latch welcomed;
  Latch closed;
  std::uint64_t epoch = 0;
  ConnectionEvents events;
  events.received = [&](av1::ConnectResponse message) {
    epoch = message.welcome().epoch();
    welcomed.open();
  };
  events.closed = [&](Error) { closed.open(); };
  auto connection = link.connect(events);
  av1::ConnectRequest message;
  message.mutable_hello()->set_host_uid(kHost);
  connection->send(message);
  REQUIRE(welcomed.wait());
  CHECK(epoch == 5);
  message.mutable_step_result()->set_key("k");
  connection->send(message);
  CHECK(closed.wait());
  connection->send(message);  // dropped
}

TEST_CASE("a connection the agent leaves ends at the server too", "[agent]") {
  Enrolled host;
  GrpcLink link(host.files, host.files.identity().value().link_address());
  Latch welcomed;
  std::atomic<bool> heard{false};
  ConnectionEvents events;
  events.received = [&](av1::ConnectResponse) { welcomed.open(); };
  events.closed = [&](Error) { heard = true; };
  auto connection = link.connect(events);
  av1::ConnectRequest message;
  message.mutable_hello()->set_host_uid(kHost);
  connection->send(message);
  REQUIRE(welcomed.wait());
  connection.reset();
  CHECK(host.server.linking.left.wait());
  CHECK_FALSE(heard);
}

TEST_CASE("connections left before they are open end without a word", "[agent]") {
  Enrolled host;
  std::atomic<bool> heard{false};
  {
    GrpcLink link(host.files, host.files.identity().value().link_address());
    ConnectionEvents events;
    events.received = [&](av1::ConnectResponse) { heard = true; };
    events.closed = [&](Error) { heard = true; };
    av1::ConnectRequest hello;
    hello.mutable_hello()->set_host_uid(kHost);
    for (int i = 0; i < 20; ++i) link.connect(events)->send(hello);
  }
  CHECK_FALSE(heard);
}

TEST_CASE("a host whose certificate is gone is told so", "[agent]") {
  Enrolled host;
  GrpcLink link(host.files, host.files.identity().value().link_address());
  std::filesystem::remove(host.dir / "identity/certificate.pem");
  Latch closed;
  std::string reason;
  ConnectionEvents events;
  events.received = [](av1::ConnectResponse) {};
  events.closed = [&](Error why) {
    reason = why.reason();
    closed.open();
  };
  const auto connection = link.connect(events);
  REQUIRE(closed.wait());
  CHECK(reason == "FILE_NOT_FOUND");
}

TEST_CASE("a server that is away closes the connection with a reason", "[agent]") {
  Enrolled host;
  GrpcLink link(host.files, "127.0.0.1:1");
  Latch closed;
  ConnectionEvents events;
  events.received = [](av1::ConnectResponse) {};
  std::string reason;
  events.closed = [&](Error why) {
    reason = why.reason();
    closed.open();
  };
  const auto connection = link.connect(events);
  REQUIRE(closed.wait());
  CHECK(reason == "SERVER_UNREACHABLE");
}

TEST_CASE("an upload arrives whole and in order, a wrong ticket is an error", "[agent]") {
  Enrolled host;
  GrpcLink link(host.files, host.files.identity().value().link_address());
  CHECK(link.open("good").error().reason() == "UPLOAD_LOST");  // no connection yet
  ConnectionEvents events;
  Latch welcomed;
  events.received = [&](av1::ConnectResponse) { welcomed.open(); };
  events.closed = [](Error) {};
  const auto connection = link.connect(events);
  av1::ConnectRequest hello;
  hello.mutable_hello()->set_host_uid(kHost);
  connection->send(hello);
  REQUIRE(welcomed.wait());
  auto source = link.open("good").value();
  std::string all;
  std::array<std::byte, 7777> buffer{};
  for (;;) {
    const auto n = source->read(buffer);
    REQUIRE(n.ok());
    if (n.value() == 0) break;
    all.append(reinterpret_cast<const char*>(buffer.data()), n.value());
  }
  REQUIRE(all.size() == 1'000'000);
  CHECK(all[0] == 'a');
  CHECK(all[999'999] == 'a' + 99 % 26);
  auto refused = link.open("bad").value();
  CHECK(refused->read(buffer).error().reason() == "UPLOAD_LOST");
  // Trying again is of use where the stream broke, and of none where the client is gone.
  CHECK(link.open("bad").value()->read(buffer).error().code() == Code::Unavailable);
  const auto gone = link.open("gone").value()->read(buffer);
  CHECK(gone.error().code() == Code::Aborted);
  CHECK(gone.error().reason() == "UPLOAD_INTERRUPTED");
  auto left = link.open("good").value();
  left.reset();  // not read to its end
}

namespace {

/// The agent's consoles on a link that is up.
struct Relaying {
  Relaying() {
    console_host.first.socket = console_host.file("serial");
    listener = listen_unix(console_host.first.socket, 4).value();
    ConnectionEvents events;
    events.received = [this](av1::ConnectResponse) { welcomed.open(); };
    events.closed = [](Error) {};
    connection = link.connect(events);
    av1::ConnectRequest hello;
    hello.mutable_hello()->set_host_uid(kHost);
    connection->send(hello);
    REQUIRE(welcomed.wait());
  }
  void open(const std::string& ticket) { open(ticket, console_host.guest); }
  void open(const std::string& ticket, const std::string& guest) {
    av1::OpenConsole request;
    request.set_ticket(ticket);
    request.set_guest(guest);
    relays.open(request);
  }
  bool wait_for_relays(int count) const {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (enrolled.server.linking.relays < count) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(20ms);
    }
    return true;
  }

  Enrolled enrolled{};
  Host console_host{};
  Fd listener{};
  Latch welcomed{};
  GrpcLink link{enrolled.files, enrolled.files.identity().value().link_address()};
  Consoles consoles = console_host.serve();
  std::unique_ptr<Connection> connection{};
  GrpcConsoles relays{consoles, link};
};

}  // namespace

TEST_CASE("a relay reads no more input than the guest takes, and loses none", "[agent]") {
  Relaying agent;
  agent.open("paste");
  const Fd guest = accept_guest(agent.listener);
  std::this_thread::sleep_for(500ms);  // what anybody may hold is held
  const auto& paste = agent.enrolled.server.linking.paste;
  CHECK(read_slowly(guest, paste.size()) == paste);
}

TEST_CASE("relays whose server hangs up end, also while the guest takes no input", "[agent]") {
  constexpr int kMost = 64;
  Relaying agent;
  for (int i = 0; i < kMost; ++i) agent.open("hang");
  const Fd guest = accept_guest(agent.listener);
  REQUIRE(write_all(guest.get(), std::as_bytes(std::span("said", 4))).ok());
  REQUIRE(agent.wait_for_relays(kMost));
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (agent.enrolled.server.linking.relays == kMost) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    agent.open("look");  // refused while there are as many as may be
    std::this_thread::sleep_for(100ms);
  }
}

TEST_CASE("what cannot be relayed is refused at once, with its reason", "[agent]") {
  Relaying agent;
  auto& refusals = agent.enrolled.server.linking.refusals;
  SECTION("a machine that has no files here") {
    agent.open("look", "00000000-0000-4000-8000-000000000001");
    CHECK(refusals.next() == "GUEST_FILES_NOT_FOUND");
  }
  SECTION("what is no machine") {
    agent.open("look", "../web");
    CHECK(refusals.next() == "BAD_UID");
  }
  SECTION("more consoles than may be open") {
    constexpr int kMost = 64;
    for (int i = 0; i < kMost; ++i) agent.open("hold");
    REQUIRE(agent.wait_for_relays(kMost));
    agent.open("look");
    CHECK(refusals.next() == "CONSOLE_LIMIT");
  }
}
