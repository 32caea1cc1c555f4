#include "base/crypto/peer_chain.h"

#include <csignal>
#include <thread>

#include <catch2/catch.hpp>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "base/crypto/authority.h"
#include "base/crypto/openssl.h"
#include "base/crypto/x509.h"
#include "base/fd.h"

namespace reeve::crypto {
namespace {

using namespace std::chrono_literals;

/// A listening socket on loopback.
struct Listener {
  Fd fd{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::uint16_t port = 0;
  Listener() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(listen(fd.get(), 8) == 0);
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port = ntohs(address.sin_port);
  }
};

/// Answers one TLS client with a certificate and extra chain certificates.
void serve_tls_once(int listener, const std::string& key, const std::string& certificate,
                    const std::vector<std::string>& extra) {
  const Fd client(accept(listener, nullptr, nullptr));
  std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>> context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_use_certificate(context.get(), parse_x509(certificate).value().get());
  SSL_CTX_use_PrivateKey(context.get(), parse_key(key).value().get());
  for (const auto& pem : extra)
    SSL_CTX_add_extra_chain_cert(context.get(), parse_x509(pem).value().release());
  std::unique_ptr<SSL, FreeWith<SSL_free>> ssl(SSL_new(context.get()));
  SSL_set_fd(ssl.get(), client.get());
  SSL_accept(ssl.get());
  char byte = 0;
  SSL_read(ssl.get(), &byte, 1);  // until the client hangs up
}

Result<PeerChain> fetch_from(const std::string& key, const std::string& certificate,
                             const std::vector<std::string>& extra) {
  Listener listener;
  std::signal(SIGPIPE, SIG_IGN);  // for the server below; fetch_peer_chain needs no such care
  std::thread server([&] { serve_tls_once(listener.fd.get(), key, certificate, extra); });
  auto peer = fetch_peer_chain("127.0.0.1", listener.port, 5s);
  server.join();
  return peer;
}

const WallTime kNow = WallTime(std::chrono::seconds(1'800'000'000));

TEST_CASE("first contact returns the CA that signed the server", "[crypto]") {
  const auto ca = Authority::make("CA", kNow).value();
  const auto key = generate_key_pem().value();
  const auto leaf = ca.issue_server(key, {"127.0.0.1"}, kNow).value();
  const auto peer = fetch_from(key, leaf, {ca.certificate_pem()}).value();
  CHECK(peer.ca_fingerprint == ca.fingerprint());
  CHECK(peer.ca_pem == ca.certificate_pem());
  CHECK(peer.chain_pem == leaf + ca.certificate_pem());
}

TEST_CASE("a chain without the CA that signed it is refused", "[crypto]") {
  const auto ca = Authority::make("CA", kNow).value();
  const auto other = Authority::make("CA", kNow).value();
  const auto key = generate_key_pem().value();
  const auto leaf = ca.issue_server(key, {}, kNow).value();
  CHECK(fetch_from(key, leaf, {}).error().reason() == "NO_CA_PRESENTED");
  CHECK(fetch_from(key, leaf, {other.certificate_pem()}).error().reason() == "NO_CA_PRESENTED");
  CHECK(fetch_from(key, leaf, {leaf}).error().reason() == "NO_CA_PRESENTED");
}

TEST_CASE("a silent, a closing and a babbling server are named errors", "[crypto]") {
  {
    Listener silent;
    CHECK(fetch_peer_chain("127.0.0.1", silent.port, 50ms).error().reason() == "CONNECT_TIMEOUT");
  }
  std::uint16_t closed_port = 0;
  {
    const Listener closed;
    closed_port = closed.port;
  }
  CHECK(fetch_peer_chain("127.0.0.1", closed_port, 1s).error().reason() == "CONNECT_FAILED");
  Listener babbler;
  std::thread server([&] {
    const Fd client(accept(babbler.fd.get(), nullptr, nullptr));
    const std::string text = "HTTP/1.1 400 Bad Request\r\n\r\n";
    static_cast<void>(send(client.get(), text.data(), text.size(), MSG_NOSIGNAL));
  });
  CHECK(fetch_peer_chain("127.0.0.1", babbler.port, 5s).error().reason() == "TLS_FAILED");
  server.join();
}

}  // namespace
}  // namespace reeve::crypto
