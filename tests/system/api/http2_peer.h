// tests/system/api/http2_peer.h - a TLS connection that speaks HTTP/2 frames as badly as a test
// wants.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace reeve::test {

/// A client certificate for the agent port; empty texts for none.
struct Identity {
  std::string certificate_pem{};
  std::string key_pem{};
};

class Http2Peer {
 public:
  static constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

  /// Connects and completes TLS with ALPN h2. Null when the server refuses.
  static std::unique_ptr<Http2Peer> connect(int port, const Identity& identity = {});
  ~Http2Peer();
  Http2Peer(const Http2Peer&) = delete;
  Http2Peer& operator=(const Http2Peer&) = delete;

  /// Writes what it can; false when the server has closed or does not take it within two seconds.
  bool send(std::string_view bytes);
  /// Preface and empty SETTINGS.
  bool begin();
  /// Reads and drops until the server closes; false when it has not within `patience`.
  bool is_closed_within(std::chrono::milliseconds patience);

 private:
  struct Tls;
  Http2Peer();
  Fd fd_;
  std::unique_ptr<Tls> tls_;
};

/// One frame. Types: 0 DATA, 1 HEADERS, 3 RST_STREAM, 4 SETTINGS, 6 PING, 8 WINDOW_UPDATE, 9
/// CONTINUATION.
std::string frame(int type, int flags, std::uint32_t stream, std::string_view payload);
/// A header block of a gRPC call, literals without indexing.
std::string call_headers(std::string_view path);
/// One literal header, not indexed.
std::string literal(std::string_view name, std::string_view value);
/// A TCP connection without TLS.
Fd raw_connect(int port);

}  // namespace reeve::test
