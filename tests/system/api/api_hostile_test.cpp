// Hostile peers on both ports: whatever they send, the server lives and answers others.
#include <atomic>
#include <csignal>
#include <thread>

#include <catch2/catch.hpp>
#include <grpcpp/client_context.h>
#include <sys/socket.h>

#include "base/crypto/authority.h"
#include "base/crypto/x509.h"
#include "base/file.h"
#include "base/random.h"
#include "reeve/v1/server_service.grpc.pb.h"
#include "tests/system/api/api_server.h"
#include "tests/system/api/http2_peer.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kPath = "/reeve.v1.ServerService/GetServerInfo";

/// A server, and an identity that its agent port lets through TLS (though no host has it).
struct Attacked {
  ApiServer server;
  Identity agent;

  Attacked() {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to connections the server has closed
    const auto ca =
        crypto::Authority::load(server.ca_pem(), read_file(server.data() / "ca/ca.key").value())
            .value();
    agent.key_pem = crypto::generate_key_pem().value();
    agent.certificate_pem = ca.issue_client(crypto::make_csr_pem(agent.key_pem, "x").value(),
                                            "nobody", RealClock::instance().wall())
                                .value();
  }

  /// A fresh client who has a token is answered. Those without share a limit that an attacker
  /// without one uses up.
  void check_answer() const {
    const auto stub = v1::ServerService::NewStub(server.channel());
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + server.admin_token());
    context.set_deadline(std::chrono::system_clock::now() + 10s);
    v1::ServerInfo info;
    const auto status = stub->GetServerInfo(&context, {}, &info);
    INFO(status.error_message());
    CHECK(status.ok());
  }

  /// Runs `attack` against both ports while others are served.
  void attack(const std::string& what, const std::function<void(Http2Peer&)>& attack) {
    check_answer();
    for (const bool link : {false, true}) {
      CAPTURE(what, link);
      std::atomic<bool> over{false};
      std::thread attacker([&] {
        const auto peer = link ? Http2Peer::connect(server.link_port(), agent)
                               : Http2Peer::connect(server.api_port());
        if (peer != nullptr) attack(*peer);
        over = true;
      });
      do {
        check_answer();
      } while (!over);
      attacker.join();
      REQUIRE(server.is_running());
    }
  }
};

std::uint32_t odd(int n) {
  return static_cast<std::uint32_t>(2 * n + 1);
}

TEST_CASE("hostile: bytes that are no TLS and no HTTP/2 are cut off", "[api][hostile]") {
  Attacked attacked;
  for (const int port : {attacked.server.api_port(), attacked.server.link_port()}) {
    const Fd raw = raw_connect(port);
    const std::string text = "GET / HTTP/1.1\r\n\r\n" + std::string(100'000, 'x');
    static_cast<void>(::send(raw.get(), text.data(), text.size(), MSG_NOSIGNAL));
  }
  attacked.attack("no preface", [](Http2Peer& peer) {
    peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(peer.is_closed_within(12s));
  });
  attacked.attack("random bytes after the preface", [](Http2Peer& peer) {
    peer.begin();
    std::string noise(200'000, '\0');
    SeededRandom(7).fill(std::as_writable_bytes(std::span(noise)));
    peer.send(noise);
    CHECK(peer.is_closed_within(5s));
  });
}

TEST_CASE("hostile: oversized and endless headers are cut off", "[api][hostile]") {
  Attacked attacked;
  attacked.attack("a header of a megabyte", [](Http2Peer& peer) {
    peer.begin();
    const auto block = call_headers(kPath) + literal("x", std::string(1u << 20, 'a'));
    bool open = peer.send(frame(1, 0, 1, block.substr(0, 16000)));
    for (std::size_t at = 16000; open && at < block.size(); at += 16000)
      open = peer.send(frame(9, 0, 1, block.substr(at, 16000)));
  });
  attacked.attack("continuations without end", [](Http2Peer& peer) {
    peer.begin();
    bool open = peer.send(frame(1, 0, 1, call_headers(kPath)));
    for (int i = 0; open && i < 20'000; ++i) open = peer.send(frame(9, 0, 1, literal("a", "b")));
  });
  attacked.attack("a header that refers to itself many times", [](Http2Peer& peer) {
    peer.begin();
    // One entry of 4 KiB in the dynamic table, then thousands of references to it per call.
    const auto entry = std::string("\x40") + literal("x", std::string(4000, 'a')).substr(1);
    bool open = true;
    for (int call = 0; open && call < 50; ++call)
      open = peer.send(frame(
          1, 5, odd(call),
          call_headers(kPath) + (call == 0 ? entry : std::string()) + std::string(8000, '\xbe')));
  });
}

TEST_CASE("hostile: floods of resets, settings, pings and windows do not starve others",
          "[api][hostile]") {
  Attacked attacked;
  attacked.attack("rapid reset", [](Http2Peer& peer) {
    peer.begin();
    bool open = true;
    for (int call = 0; open && call < 20'000; ++call)
      open = peer.send(frame(1, 5, odd(call), call_headers(kPath)) +
                       frame(3, 0, odd(call), std::string("\0\0\0\x08", 4)));
  });
  attacked.attack("settings", [](Http2Peer& peer) {
    peer.begin();
    bool open = true;
    for (int i = 0; open && i < 20'000; ++i)
      open = peer.send(frame(4, 0, 0, std::string("\0\x04\0\0\xff\xff", 6)));
  });
  attacked.attack("pings", [](Http2Peer& peer) {
    peer.begin();
    bool open = true;
    for (int i = 0; open && i < 20'000; ++i) open = peer.send(frame(6, 0, 0, "12345678"));
  });
  attacked.attack("window updates that overflow", [](Http2Peer& peer) {
    peer.begin();
    bool open = peer.send(frame(1, 4, 1, call_headers(kPath)));
    for (int i = 0; open && i < 2'000; ++i)
      open = peer.send(frame(8, 0, 1, std::string("\x7f\xff\xff\xff", 4)));
  });
}

TEST_CASE("hostile: calls that begin and never go on hold nobody up", "[api][hostile]") {
  Attacked attacked;
  std::vector<Fd> silent;
  for (int i = 0; i < 300; ++i) {
    silent.push_back(raw_connect(attacked.server.api_port()));
    silent.push_back(raw_connect(attacked.server.link_port()));
  }
  attacked.attack("a thousand calls without a body", [](Http2Peer& peer) {
    peer.begin();
    bool open = true;
    for (int call = 0; open && call < 1000; ++call)
      open = peer.send(frame(1, 4, odd(call), call_headers(kPath)));
    // A message that announces 4 GiB, byte by byte.
    for (int i = 0; open && i < 100; ++i)
      open = peer.send(frame(0, 0, 1, i == 0 ? std::string("\0\xff\xff\xff\xff", 5) : "x"));
  });
  CHECK(attacked.server.is_running());
}

TEST_CASE("hostile: a compressed bomb is refused unopened", "[api][hostile]") {
  Attacked attacked;
  attacked.attack("gzip", [](Http2Peer& peer) {
    peer.begin();
    peer.send(frame(1, 4, 1, call_headers(kPath) + literal("grpc-encoding", "gzip")));
    peer.send(frame(0, 1, 1, std::string("\x01\0\0\0\x0a", 5) + "\x1f\x8b\x08 bomb."));
  });
}

TEST_CASE("hostile: the agent port lets nobody in without a certificate of our CA",
          "[api][hostile]") {
  Attacked attacked;
  const auto foreign = crypto::Authority::make("foreign", RealClock::instance().wall()).value();
  Identity forged{.certificate_pem = {}, .key_pem = crypto::generate_key_pem().value()};
  forged.certificate_pem = foreign
                               .issue_client(crypto::make_csr_pem(forged.key_pem, "x").value(), "x",
                                             RealClock::instance().wall())
                               .value();
  Identity server_posing{
      .certificate_pem = read_file(attacked.server.data() / "tls/server.pem").value(),
      .key_pem = read_file(attacked.server.data() / "tls/server.key").value()};
  for (const auto& identity : {Identity{}, forged, server_posing}) {
    // With TLS 1.3 a client learns of the refusal with its first read.
    const auto peer = Http2Peer::connect(attacked.server.link_port(), identity);
    CHECK((peer == nullptr || !peer->begin() || peer->is_closed_within(5s)));
  }
}

}  // namespace
}  // namespace reeve::test
