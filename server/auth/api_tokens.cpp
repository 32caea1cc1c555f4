#include "server/auth/api_tokens.h"

#include <array>
#include <optional>
#include <vector>

#include "base/crypto/sha256.h"
#include "base/file.h"
#include "base/text.h"
#include "base/uuid.h"
#include "db/repo/token_repo.h"
#include "server/app/validate.h"
#include "server/auth/audit_log.h"
#include "server/auth/commit.h"
#include "server/auth/paging.h"
#include "server/auth/roles.h"

namespace reeve::server {
namespace {

constexpr std::string_view kPrefix = "reeve_";
constexpr std::size_t kIdDigits = 12;
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kMaxTokens = 10'000;
constexpr std::chrono::minutes kUseExactness{1};

std::string id_of(std::string_view uid) {
  std::string id;
  for (const char c : uid)
    if (c != '-' && id.size() < kIdDigits) id += c;
  return id;
}

struct Parsed {
  std::string_view id{};
  std::string_view secret{};
};

std::optional<Parsed> parse(std::string_view token) {
  if (token.size() < kPrefix.size() + kIdDigits + 1 || token.size() > 128) return std::nullopt;
  if (!token.starts_with(kPrefix) || token[kPrefix.size() + kIdDigits] != '_') return std::nullopt;
  token.remove_prefix(kPrefix.size());
  return Parsed{.id = token.substr(0, kIdDigits), .secret = token.substr(kIdDigits + 1)};
}

v1::ApiToken to_proto(const db::ApiToken& row) {
  v1::ApiToken out;
  out.set_name("tokens/" + row.uid);
  out.set_display_name(row.name);
  out.set_role(role_of(row.role).value_or(v1::ROLE_UNSPECIFIED));
  const auto set_time = [](google::protobuf::Timestamp* out_time, WallTime time) {
    const auto micros = to_micros(time);
    out_time->set_seconds(micros / 1'000'000);
    out_time->set_nanos(static_cast<std::int32_t>(micros % 1'000'000 * 1000));
  };
  set_time(out.mutable_create_time(), row.create_time);
  if (row.expire_time) set_time(out.mutable_expire_time(), *row.expire_time);
  if (row.last_use_time) set_time(out.mutable_last_use_time(), *row.last_use_time);
  return out;
}

Error bad(std::string_view field, std::string_view problem) {
  const auto path = "token." + std::string(field);
  return Error{Code::InvalidArgument, "BAD_FIELD", path + " " + std::string(problem)}.with(
      "field:" + path, std::string(problem));
}

Status check_name(std::string_view name) {
  if (is_display_name(name)) return {};
  return bad("display_name", name.empty() ? "is required"
                                          : "must be 1 to 63 letters, digits, '-', '_' or '.', "
                                            "starting with a letter or digit");
}

Error taken(std::string_view name) {
  return Error{Code::AlreadyExists, "NAME_TAKEN",
               "there is or was a token called '" + std::string(name) + "'"}
      .remedy("Choose another name; a revoked token keeps its name for the audit log.");
}

Error unknown_token() {
  return {Code::Unauthenticated, "TOKEN_UNKNOWN", "the API token is not known or was revoked"};
}

}  // namespace

Result<std::shared_ptr<ApiTokens>> ApiTokens::create(const Parts& parts) {
  std::shared_ptr<ApiTokens> tokens(new ApiTokens(parts));
  tokens->self_ = tokens;
  const auto rows = TRY(parts.readers->read(
      [](db::ReadTransaction& tx) { return db::TokenReader(tx).api_tokens(); }));
  for (const auto& row : rows)
    if (!row.revoke_time) tokens->remember(row);
  return tokens;
}

void ApiTokens::remember(const db::ApiToken& row) {
  Lock lock(mutex_);
  live_.insert_or_assign(id_of(row.uid), Known{.row = row});
}

Result<ApiTokens::Holder> ApiTokens::authenticate(std::string_view token) {
  const auto parsed = parse(token);
  // An unknown id is compared too, against a digest nothing has, so that it takes as long.
  const auto digest = crypto::sha256_hex(parsed ? parsed->secret : token);
  db::ApiToken row;
  row.hash = std::string(digest.size(), '-');
  if (parsed) {
    Lock lock(mutex_);
    const auto it = live_.find(parsed->id);
    if (it != live_.end() && !it->second.refused) row = it->second.row;
  }
  if (!crypto::constant_time_equal(digest, row.hash)) return unknown_token();
  const auto now = parts_.clock->wall();
  if (row.expire_time && *row.expire_time <= now)
    return Error{Code::Unauthenticated, "TOKEN_EXPIRED", "token '" + row.name + "' has expired"};
  if (!row.last_use_time || now - *row.last_use_time >= kUseExactness) {
    Lock lock(mutex_);
    if (const auto it = live_.find(parsed->id); it != live_.end()) {
      it->second.row.last_use_time = now;
      unsaved_uses_[row.uid] = now;
    }
  }
  return Holder{.actor = "tokens/" + row.uid,
                .role = role_of(row.role).value_or(v1::ROLE_UNSPECIFIED)};
}

void ApiTokens::save_uses() {
  std::map<std::string, WallTime> uses;
  {
    Lock lock(mutex_);
    uses.swap(unsaved_uses_);
  }
  if (uses.empty()) return;
  parts_.writer->submit(
      [uses = std::move(uses)](db::Transaction& tx) -> Status {
        for (const auto& [uid, time] : uses) TRY(db::TokenRepo(tx).touch_api_token(uid, time));
        return {};
      },
      // A database that takes no writes has said so elsewhere; the next use is noted again.
      [](const Status&, std::int64_t) {});
}

ApiTokens::Draft ApiTokens::draft(std::string_view name, v1::Role role,
                                  std::string_view actor) const {
  Draft out;
  out.row.uid = new_uuid(*parts_.random);
  out.row.name = name;
  out.row.role = to_text(role);
  out.row.actor = actor;
  out.row.create_time = parts_.clock->wall();
  std::array<std::byte, kSecretBytes> bytes{};
  parts_.random->fill(bytes);
  const auto secret = to_base64url(bytes);
  out.row.hash = crypto::sha256_hex(secret);
  out.secret = std::string(kPrefix).append(id_of(out.row.uid)).append("_").append(secret);
  return out;
}

Result<bool> ApiTokens::ensure_first_token(const std::filesystem::path& file) {
  const auto rows = TRY(parts_.readers->read(
      [](db::ReadTransaction& tx) { return db::TokenReader(tx).api_tokens(); }));
  if (!rows.empty()) return false;
  // The file first: a crash in between leaves a file that the next start replaces, never a token
  // that nobody knows.
  const auto made = draft("admin", v1::ROLE_ADMINISTRATOR, "server");
  TRY(write_file_durably(file, made.secret + "\n", 0600));
  TRY(commit_and_wait(*parts_.writer, [row = made.row](db::Transaction& tx) {
    return db::TokenRepo(tx).insert_api_token(row);
  }));
  remember(made.row);
  return true;
}

void ApiTokens::create_token(const Caller& caller, const v1::CreateApiTokenRequest& request,
                             Reply<v1::ApiToken> reply) {
  const auto& wanted = request.token();
  if (auto checked = check_name(wanted.display_name()); !checked.ok())
    return reply(std::move(checked).error());
  if (permissions_of(wanted.role()) == PermissionSet{}) return reply(bad("role", "is not a role"));
  auto made = draft(wanted.display_name(), wanted.role(), caller.actor);
  if (wanted.has_expire_time()) {
    const auto expire = std::chrono::seconds(wanted.expire_time().seconds());
    if (expire.count() <= 0 || expire > std::chrono::days(365 * 200) ||
        WallTime(expire) <= made.row.create_time)
      return reply(bad("expire_time", "is not in the future"));
    made.row.expire_time = WallTime(expire);
  }
  {
    Lock lock(mutex_);
    if (live_.size() >= kMaxTokens)
      return reply(Error{Code::ResourceExhausted, "TOO_MANY_TOKENS", "there are 10000 API tokens"});
  }
  parts_.writer->submit(
      [row = made.row, caller](db::Transaction& tx) -> Status {
        TRY(db::TokenRepo(tx).insert_api_token(row));
        return audit_change(tx, caller,
                            {.time = row.create_time,
                             .method = "ServerService/CreateApiToken",
                             .resource = "tokens/" + row.uid,
                             .summary = "token " + row.name + ", role " + row.role});
      },
      [self = self_, made, reply = std::move(reply)](Status status, std::int64_t) {
        if (!status.ok()) {
          if (status.error().code() == Code::AlreadyExists) return reply(taken(made.row.name));
          return reply(std::move(status).error());
        }
        if (const auto tokens = self.lock()) tokens->remember(made.row);
        auto token = to_proto(made.row);
        token.set_secret(made.secret);
        reply(std::move(token));
      });
}

Result<v1::ListApiTokensResponse> ApiTokens::list(const v1::ListApiTokensRequest& request) const {
  const auto limit = static_cast<std::size_t>(TRY(page_limit(request.page_size())));
  const auto after = TRY(read_page_token("tokens", request.page_token()));
  std::map<std::string, db::ApiToken> by_name;
  {
    Lock lock(mutex_);
    for (const auto& [id, known] : live_)
      if (known.row.name > after) by_name.emplace(known.row.name, known.row);
  }
  v1::ListApiTokensResponse out;
  for (const auto& [name, row] : by_name) {
    if (static_cast<std::size_t>(out.tokens_size()) == limit) {
      const auto& last = out.tokens(out.tokens_size() - 1);
      out.set_next_page_token(make_page_token("tokens", last.display_name()));
      break;
    }
    *out.add_tokens() = to_proto(row);
  }
  return out;
}

void ApiTokens::revoke(const Caller& caller, const v1::DeleteApiTokenRequest& request,
                       Reply<v1::DeleteApiTokenResponse> reply) {
  constexpr std::string_view kCollection = "tokens/";
  const std::string_view name = request.name();
  if (!name.starts_with(kCollection) || !is_uuid(name.substr(kCollection.size()))) {
    return reply(Error{Code::InvalidArgument, "BAD_FIELD", "name is not tokens/{uid}"}.with(
        "field:name", "is not tokens/{uid}"));
  }
  const std::string uid(name.substr(kCollection.size()));
  std::string display_name;
  {
    // Refused before that is stored: from here on the token opens nothing, whatever the disk says.
    Lock lock(mutex_);
    const auto it = live_.find(id_of(uid));
    if (it == live_.end() || it->second.row.uid != uid) {
      return reply(Error{Code::NotFound, "TOKEN_NOT_FOUND", "no token '" + uid + "'"}.resource(
          std::string(name)));
    }
    it->second.refused = true;
    display_name = it->second.row.name;
  }
  end_calls_of(uid);
  parts_.writer->submit(
      [uid, display_name, caller, now = parts_.clock->wall()](db::Transaction& tx) -> Status {
        TRY(db::TokenRepo(tx).revoke_api_token(uid, now));
        return audit_change(tx, caller,
                            {.time = now,
                             .method = "ServerService/DeleteApiToken",
                             .resource = "tokens/" + uid,
                             .summary = "token " + display_name});
      },
      [self = self_, uid, display_name, reply = std::move(reply)](Status status, std::int64_t) {
        if (!status.ok())
          return reply(std::move(status).error().during(
              "repeat the call: token '" + display_name +
              "' is refused from now on, but only until the server restarts"));
        if (const auto tokens = self.lock()) tokens->forget(uid);
        reply(v1::DeleteApiTokenResponse{});
      });
}

void ApiTokens::forget(const std::string& uid) {
  {
    Lock lock(mutex_);
    live_.erase(id_of(uid));
  }
  end_calls_of(uid);  // of a call that was being let in when the first were ended
}

}  // namespace reeve::server
