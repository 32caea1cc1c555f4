#include "tests/system/api/http2_peer.h"

#include <array>

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

namespace reeve::test {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Http2Peer::Tls {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* ssl = nullptr;
  Tls() = default;
  ~Tls() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;
};

namespace {

bool wait_on(int fd, short events, Clock::time_point end) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  return left.count() > 0 && poll(&entry, 1, static_cast<int>(left.count())) > 0;
}

void use_identity(SSL_CTX* context, const Identity& identity) {
  if (identity.key_pem.empty()) return;
  BIO* certificate_bio = BIO_new_mem_buf(identity.certificate_pem.data(), -1);
  BIO* key_bio = BIO_new_mem_buf(identity.key_pem.data(), -1);
  X509* certificate = PEM_read_bio_X509(certificate_bio, nullptr, nullptr, nullptr);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(key_bio, nullptr, nullptr, nullptr);
  SSL_CTX_use_certificate(context, certificate);
  SSL_CTX_use_PrivateKey(context, key);
  X509_free(certificate);
  EVP_PKEY_free(key);
  BIO_free(certificate_bio);
  BIO_free(key_bio);
}

}  // namespace

Fd raw_connect(int port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return Fd();
  return fd;
}

Http2Peer::Http2Peer() : tls_(std::make_unique<Tls>()) {}
Http2Peer::~Http2Peer() = default;

std::unique_ptr<Http2Peer> Http2Peer::connect(int port, const Identity& identity) {
  std::unique_ptr<Http2Peer> peer(new Http2Peer());
  peer->fd_ = raw_connect(port);
  if (!peer->fd_) return nullptr;
  const timeval patience{.tv_sec = 2, .tv_usec = 0};
  setsockopt(peer->fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(peer->fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  use_identity(peer->tls_->context, identity);
  constexpr unsigned char kProtocols[] = {2, 'h', '2'};
  peer->tls_->ssl = SSL_new(peer->tls_->context);
  SSL_set_alpn_protos(peer->tls_->ssl, kProtocols, sizeof kProtocols);
  SSL_set_fd(peer->tls_->ssl, peer->fd_.get());
  if (SSL_connect(peer->tls_->ssl) != 1) return nullptr;
  return peer;
}

bool Http2Peer::send(std::string_view bytes) {
  ERR_clear_error();
  return SSL_write(tls_->ssl, bytes.data(), static_cast<int>(bytes.size())) > 0;
}

bool Http2Peer::begin() {
  return send(std::string(kPreface) + frame(4, 0, 0, ""));
}

bool Http2Peer::is_closed_within(std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  std::array<char, 4096> buffer{};
  while (Clock::now() < end) {
    ERR_clear_error();
    if (SSL_pending(tls_->ssl) == 0 && !wait_on(fd_.get(), POLLIN, end)) return false;
    if (SSL_read(tls_->ssl, buffer.data(), static_cast<int>(buffer.size())) <= 0) return true;
  }
  return false;
}

std::string frame(int type, int flags, std::uint32_t stream, std::string_view payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out += static_cast<char>(payload.size() >> shift & 0xff);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(stream >> shift & 0xff);
  return out.append(payload);
}

namespace {

/// HPACK integer with a prefix of seven bits and a text without Huffman coding.
std::string hpack_text(std::string_view text) {
  std::string out;
  if (text.size() < 127) {
    out += static_cast<char>(text.size());
  } else {
    out += '\x7f';
    auto rest = text.size() - 127;
    for (; rest >= 128; rest /= 128) out += static_cast<char>(rest % 128 + 128);
    out += static_cast<char>(rest);
  }
  return out.append(text);
}

}  // namespace

std::string literal(std::string_view name, std::string_view value) {
  return std::string(1, '\0') + hpack_text(name) + hpack_text(value);
}

std::string call_headers(std::string_view path) {
  return literal(":method", "POST") + literal(":scheme", "https") + literal(":path", path) +
         literal(":authority", "reeve-server") + literal("content-type", "application/grpc") +
         literal("te", "trailers");
}

}  // namespace reeve::test
