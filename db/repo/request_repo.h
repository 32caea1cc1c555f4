// db/repo/request_repo.h - table `request`: answers remembered per (caller, request_id), for 24
// hours.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "db/model/job.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

inline constexpr std::chrono::hours kRequestLifetime{24};

class RequestReader {
 public:
  explicit RequestReader(ReadTransaction& tx) : read_(tx) {}

  /// The remembered answer; nothing when the id is new or expired at `now`. InvalidArgument/
  /// REQUEST_ID_REUSED when it was used for another method or body.
  Result<std::optional<StoredRequest>> find(std::string_view caller, std::string_view request_id,
                                            std::string_view method, std::string_view body_sha256,
                                            WallTime now);

 private:
  ReadTransaction& read_;
};

class RequestRepo : public RequestReader {
 public:
  explicit RequestRepo(Transaction& tx) : RequestReader(tx), tx_(tx) {}

  /// Remembers it until create_time + kRequestLifetime (expire_time is set here). Replaces an
  /// expired one; AlreadyExists/DB_UNIQUE when a live one is there.
  Status insert(const StoredRequest& request);
  /// Forgets up to `limit` expired ones; the number gone.
  Result<int> remove_expired(WallTime now, int limit);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
