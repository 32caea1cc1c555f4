// base/crypto/peer_chain.h - what a TLS server presents, for clients that have nothing to verify it
// with yet.
//
// A Reeve server presents its certificate and its CA. At first contact a client takes the CA from
// here, compares `ca_fingerprint` with what it was told (enrol token, the user's eyes), and from
// then on verifies every connection against `ca_pem`. Nothing received here is trusted before that
// comparison.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace reeve::crypto {

struct PeerChain {
  std::string chain_pem{};       ///< as presented, the server's own certificate first
  std::string ca_pem{};          ///< the last: self-signed, and the signer of the first
  std::string ca_fingerprint{};  ///< SHA-256 of the CA's DER, lower-case hexadecimal
};

/// Connects, completes a TLS handshake without verification, returns the chain and hangs up.
/// Blocks. Unavailable/CONNECT_FAILED, DeadlineExceeded/CONNECT_TIMEOUT, Unavailable/TLS_FAILED,
/// FailedPrecondition/NO_CA_PRESENTED (the chain does not end in a CA that signed it).
Result<PeerChain> fetch_peer_chain(const std::string& host, std::uint16_t port,
                                   std::chrono::milliseconds timeout);

}  // namespace reeve::crypto
