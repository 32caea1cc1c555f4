// server/auth/enrollment.h - how hosts join: enrol tokens, first certificates, renewals. Without
// gRPC.
//
// Any thread. The token's secret is stored as SHA-256 only.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/crypto/authority.h"
#include "base/mutex.h"
#include "base/random.h"
#include "db/readers.h"
#include "db/writer.h"
#include "reeve/agent/v1/enrollment_service.pb.h"
#include "reeve/v1/host_service.pb.h"
#include "server/app/caller.h"
#include "server/auth/attempt_limiter.h"

namespace reeve::server {

class Enrollment {
 public:
  /// All outlive it.
  struct Parts {
    const crypto::Authority* authority = nullptr;
    db::Readers* readers = nullptr;
    db::Writer* writer = nullptr;
    const Clock* clock = nullptr;
    Random* random = nullptr;  ///< thread-safe
  };
  explicit Enrollment(const Parts& parts)
      : parts_(parts), attempts_(*parts.clock, 10, std::chrono::minutes(1)) {}

  /// Where hosts find the server, once the ports are known. `link` may have an empty host part.
  void announce(std::string api_address, std::string link_address);

  /// Errors as in host_service.proto and enrollment_service.proto.
  void create_token(const Caller& caller, const v1::CreateEnrollTokenRequest& request,
                    Reply<v1::EnrollToken> reply);
  void enroll(const Caller& caller, const agent::v1::EnrollRequest& request,
              Reply<agent::v1::EnrollResponse> reply);
  void renew(const Caller& caller, const agent::v1::RenewRequest& request,
             Reply<agent::v1::RenewResponse> reply);

 private:
  std::string api_address() const;
  std::string link_address() const;

  const Parts parts_;
  AttemptLimiter attempts_;
  mutable Mutex mutex_;
  std::string api_address_ REEVE_GUARDED_BY(mutex_);
  std::string link_address_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
