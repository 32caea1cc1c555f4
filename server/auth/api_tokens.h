// server/auth/api_tokens.h - the credentials of the API: `reeve_<id>_<secret>`.
//
// The id (12 hexadecimal digits, the beginning of the token's uid) finds a token, the secret (32
// random bytes, base64url) proves it; only the SHA-256 of the secret is stored. All live tokens are
// held in memory, so that a call costs no query; this is the only writer of table `api_token`. Any
// thread.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "db/model/token.h"
#include "db/readers.h"
#include "db/writer.h"
#include "reeve/v1/server_service.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

class ApiTokens {
 public:
  /// All outlive the tokens.
  struct Parts {
    db::Readers* readers = nullptr;
    db::Writer* writer = nullptr;
    const Clock* clock = nullptr;
    Random* random = nullptr;  ///< thread-safe
  };
  struct Holder {
    std::string actor{};  ///< "tokens/{uid}"
    v1::Role role = v1::ROLE_UNSPECIFIED;
  };

  /// Loads the tokens. Blocks on the database.
  static Result<std::shared_ptr<ApiTokens>> create(const Parts& parts);

  /// Unauthenticated/TOKEN_UNKNOWN (also malformed and revoked), TOKEN_EXPIRED. Equally slow for
  /// all.
  Result<Holder> authenticate(std::string_view token);
  /// Stores when tokens were last used, in one transaction; nothing when none was since the last
  /// time. Call it every minute, which is how exact these times are.
  void save_uses();

  /// On the very first start: makes a token for an administrator and writes it to `file` (0600).
  /// Returns whether it did. Blocks.
  Result<bool> ensure_first_token(const std::filesystem::path& file);

  /// Errors as in server_service.proto.
  void create_token(const Caller& caller, const v1::CreateApiTokenRequest& request,
                    Reply<v1::ApiToken> reply);
  Result<v1::ListApiTokensResponse> list(const v1::ListApiTokensRequest& request) const;
  /// The token opens nothing from this call on, and its calls end. When that cannot be stored, the
  /// reply is an error that says so, the token is still listed, and the call can be repeated.
  void revoke(const Caller& caller, const v1::DeleteApiTokenRequest& request,
              Reply<v1::DeleteApiTokenResponse> reply);
  /// Called with the actor of a token whose calls are to end, perhaps twice. Set before use.
  void on_revoked(std::function<void(const std::string& actor)> notify) {
    on_revoked_ = std::move(notify);
  }

 private:
  explicit ApiTokens(const Parts& parts) : parts_(parts) {}
  struct Draft {
    db::ApiToken row{};
    std::string secret{};  ///< the whole token
  };
  struct Known {
    db::ApiToken row{};
    bool refused = false;  ///< it is being revoked, and that is not stored yet
  };
  Draft draft(std::string_view name, v1::Role role, std::string_view actor) const;
  void remember(const db::ApiToken& row);
  void forget(const std::string& uid);
  void end_calls_of(const std::string& uid) const {
    if (on_revoked_) on_revoked_("tokens/" + uid);
  }

  const Parts parts_;
  mutable Mutex mutex_;
  std::map<std::string, Known, std::less<>> live_ REEVE_GUARDED_BY(mutex_);  ///< by id
  std::map<std::string, WallTime> unsaved_uses_ REEVE_GUARDED_BY(mutex_);    ///< by uid
  std::function<void(const std::string&)> on_revoked_;
  std::weak_ptr<ApiTokens> self_;  ///< for completions that come after us
};

}  // namespace reeve::server
