// db/repo/token_repo.h - tables `enroll_token` and `api_token`.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/token.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

class TokenReader {
 public:
  explicit TokenReader(ReadTransaction& tx) : read_(tx) {}

  /// A token that admits at `now`. Unauthenticated/TOKEN_UNKNOWN, _REVOKED or _EXPIRED otherwise.
  Result<ApiToken> find_api_token(std::string_view hash, WallTime now);
  Result<std::vector<ApiToken>> api_tokens();
  Result<std::vector<EnrollToken>> enroll_tokens();

 private:
  ReadTransaction& read_;
};

class TokenRepo : public TokenReader {
 public:
  explicit TokenRepo(Transaction& tx) : TokenReader(tx), tx_(tx) {}

  /// AlreadyExists/DB_UNIQUE when uid, name or hash is taken.
  Status insert_api_token(const ApiToken& token);
  /// NotFound/TOKEN_NOT_FOUND. A revoked one stays revoked.
  Status revoke_api_token(std::string_view uid, WallTime now);
  /// Call it rarely (once a minute per token): it is a write. Fine when absent.
  Status touch_api_token(std::string_view uid, WallTime now);

  Status insert_enroll_token(const EnrollToken& token);
  /// Spends the token for `host_uid`. Unauthenticated/TOKEN_UNKNOWN, TOKEN_EXPIRED or TOKEN_USED;
  /// the same host may spend it again, so that a lost reply can be retried.
  Result<EnrollToken> use_enroll_token(std::string_view hash, std::string_view host_uid,
                                       WallTime now);
  /// Forgets up to `limit` that expired before `time`.
  Result<int> remove_enroll_tokens_before(WallTime time, int limit);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
