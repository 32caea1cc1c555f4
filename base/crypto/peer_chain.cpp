#include "base/crypto/peer_chain.h"

#include <array>

#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/crypto/openssl.h"
#include "base/crypto/x509.h"
#include "base/fd.h"

namespace reeve::crypto {
namespace {

using Deadline = std::chrono::steady_clock::time_point;
using SslContext = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, FreeWith<SSL_free>>;
using Addresses = std::unique_ptr<addrinfo, FreeWith<freeaddrinfo>>;

Status wait_for(int fd, short events, Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  if (left.count() <= 0 || poll(&entry, 1, static_cast<int>(left.count())) == 0)
    return Error{Code::DeadlineExceeded, "CONNECT_TIMEOUT", "server did not answer in time"};
  return {};
}

Result<Fd> connect_one(const addrinfo& address, Deadline deadline) {
  Fd fd(socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("socket");
  if (connect(fd.get(), address.ai_addr, address.ai_addrlen) == 0) return fd;
  int error = errno;
  if (error == EINPROGRESS) {
    TRY(wait_for(fd.get(), POLLOUT, deadline));
    socklen_t length = sizeof error;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error == 0) return fd;
  }
  return Error{Code::Unavailable, "CONNECT_FAILED", errno_error("connect", error).message()};
}

Result<Fd> connect_to(const std::string& host, std::uint16_t port, Deadline deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (failed != 0) {
    return Error{Code::Unavailable, "CONNECT_FAILED", "'" + host + "': " + gai_strerror(failed)};
  }
  const Addresses addresses(list);
  Result<Fd> last = Error{Code::Unavailable, "CONNECT_FAILED", "'" + host + "' has no address"};
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    last = connect_one(*entry, deadline);
    if (last.ok()) break;
  }
  return last;
}

/// Sends what TLS wants to send. Not through OpenSSL's own socket code, which can raise SIGPIPE.
Status flush(SSL* ssl, int fd, Deadline deadline) {
  std::array<char, 4096> buffer{};
  while (true) {
    const int size = BIO_read(SSL_get_wbio(ssl), buffer.data(), static_cast<int>(buffer.size()));
    if (size <= 0) return {};
    for (int sent = 0; sent < size;) {
      const auto n =
          send(fd, buffer.data() + sent, static_cast<std::size_t>(size - sent), MSG_NOSIGNAL);
      if (n > 0) {
        sent += static_cast<int>(n);
      } else if (errno == EAGAIN) {
        TRY(wait_for(fd, POLLOUT, deadline));
      } else {
        return Error{Code::Unavailable, "TLS_FAILED", errno_error("TLS handshake").message()};
      }
    }
  }
}

Status receive(SSL* ssl, int fd, Deadline deadline) {
  TRY(wait_for(fd, POLLIN, deadline));
  std::array<char, 4096> buffer{};
  const auto n = recv(fd, buffer.data(), buffer.size(), 0);
  if (n <= 0 && !(n < 0 && errno == EAGAIN))
    return Error{Code::Unavailable, "TLS_FAILED", "TLS handshake: server hung up"};
  if (n > 0) BIO_write(SSL_get_rbio(ssl), buffer.data(), static_cast<int>(n));
  return {};
}

Status handshake(SSL* ssl, int fd, Deadline deadline) {
  while (true) {
    ERR_clear_error();
    const int done = SSL_connect(ssl);
    const int why = SSL_get_error(ssl, done);
    if (done != 1 && why != SSL_ERROR_WANT_READ)
      return Error{Code::Unavailable, "TLS_FAILED", "TLS handshake: " + last_openssl_error()};
    TRY(flush(ssl, fd, deadline));
    if (done == 1) return {};
    TRY(receive(ssl, fd, deadline));
  }
}

Result<PeerChain> chain_of(SSL* ssl) {
  PeerChain peer;
  STACK_OF(X509)* chain = SSL_get_peer_cert_chain(ssl);
  const int count = sk_X509_num(chain);
  if (count > 8) return Error{Code::Unavailable, "TLS_FAILED", "certificate chain is too long"};
  for (int i = 0; i < count; ++i) {
    peer.ca_pem = TRY(to_pem(sk_X509_value(chain, i)));
    peer.chain_pem += peer.ca_pem;
  }
  const Error no_ca{Code::FailedPrecondition, "NO_CA_PRESENTED",
                    "server does not present the CA that signed its certificate"};
  if (count < 2) return no_ca;
  const auto ca = TRY(parse_certificate(peer.ca_pem));
  if (!ca.is_ca || !check_signed_by(peer.ca_pem, peer.ca_pem).ok() ||
      !check_signed_by(peer.chain_pem, peer.ca_pem).ok())
    return no_ca;
  peer.ca_fingerprint = ca.fingerprint;
  return peer;
}

}  // namespace

Result<PeerChain> fetch_peer_chain(const std::string& host, std::uint16_t port,
                                   std::chrono::milliseconds timeout) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  const auto fd = TRY(connect_to(host, port, deadline));
  const SslContext context(SSL_CTX_new(TLS_client_method()));
  if (!context) return crypto_error("TLS context");
  // Nothing to verify against yet; what is presented is pinned by the caller.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  const Ssl ssl(SSL_new(context.get()));
  constexpr unsigned char kProtocols[] = {2, 'h', '2'};
  if (!ssl || SSL_set_alpn_protos(ssl.get(), kProtocols, sizeof kProtocols) != 0)
    return crypto_error("TLS connection");
  SSL_set_bio(ssl.get(), write_bio().release(), write_bio().release());
  TRY(handshake(ssl.get(), fd.get(), deadline));
  return chain_of(ssl.get());
}

}  // namespace reeve::crypto
