#include "db/repo/token_repo.h"

#include <string>

#include "db/repo/list_query.h"

namespace reeve::db {
namespace {

constexpr std::string_view kSelectApi =
    "SELECT uid, name, hash, role, actor, create_time, last_use_time, expire_time, revoke_time "
    "FROM "
    "api_token ";
constexpr std::string_view kSelectEnroll =
    "SELECT hash, actor, host_name, create_time, expire_time, use_time, used_by_host_uid FROM "
    "enroll_token ";

ApiToken read_api(const Statement& row) {
  return {.uid = row.text(0),
          .name = row.text(1),
          .hash = row.text(2),
          .role = row.text(3),
          .actor = row.text(4),
          .create_time = row.time(5),
          .last_use_time = row.maybe_time(6),
          .expire_time = row.maybe_time(7),
          .revoke_time = row.maybe_time(8)};
}

EnrollToken read_enroll(const Statement& row) {
  return {.hash = row.text(0),
          .actor = row.text(1),
          .host_name = row.text(2),
          .create_time = row.time(3),
          .expire_time = row.time(4),
          .use_time = row.maybe_time(5),
          .used_by_host_uid = row.text(6)};
}

}  // namespace

Result<ApiToken> TokenReader::find_api_token(std::string_view hash, WallTime now) {
  auto rows = TRY(read_.query(std::string(kSelectApi) + "WHERE hash = ?", hash));
  if (!TRY(rows.step()))
    return Error{Code::Unauthenticated, "TOKEN_UNKNOWN", "this token is not known"};
  auto token = read_api(rows);
  if (token.revoke_time)
    return Error{Code::Unauthenticated, "TOKEN_REVOKED", "token '" + token.name + "' was revoked"};
  if (token.expire_time && *token.expire_time <= now)
    return Error{Code::Unauthenticated, "TOKEN_EXPIRED", "token '" + token.name + "' has expired"};
  return token;
}

Result<std::vector<ApiToken>> TokenReader::api_tokens() {
  auto rows = TRY(read_.query(std::string(kSelectApi) + "ORDER BY name"));
  return read_all(rows, read_api);
}

Result<std::vector<EnrollToken>> TokenReader::enroll_tokens() {
  auto rows = TRY(read_.query(std::string(kSelectEnroll) + "ORDER BY expire_time"));
  return read_all(rows, read_enroll);
}

Status TokenRepo::insert_api_token(const ApiToken& token) {
  TRY(tx_.execute(
      "INSERT INTO api_token (uid, name, hash, role, actor, create_time, last_use_time, "
      "expire_time, revoke_time) VALUES (?,?,?,?,?,?,?,?,?)",
      token.uid, token.name, token.hash, token.role, token.actor, token.create_time,
      token.last_use_time, token.expire_time, token.revoke_time));
  return {};
}

Status TokenRepo::revoke_api_token(std::string_view uid, WallTime now) {
  const int changed = TRY(tx_.execute(
      "UPDATE api_token SET revoke_time = coalesce(revoke_time, ?) WHERE uid = ?", now, uid));
  if (changed == 1) return {};
  return Error{Code::NotFound, "TOKEN_NOT_FOUND", "no token '" + std::string(uid) + "'"};
}

Status TokenRepo::touch_api_token(std::string_view uid, WallTime now) {
  TRY(tx_.execute("UPDATE api_token SET last_use_time = ? WHERE uid = ?", now, uid));
  return {};
}

Status TokenRepo::insert_enroll_token(const EnrollToken& token) {
  TRY(tx_.execute(
      "INSERT INTO enroll_token (hash, actor, host_name, create_time, expire_time, use_time, "
      "used_by_host_uid) VALUES (?,?,?,?,?,?,?)",
      token.hash, token.actor, null_if_empty(token.host_name), token.create_time, token.expire_time,
      token.use_time, null_if_empty(token.used_by_host_uid)));
  return {};
}

Result<EnrollToken> TokenRepo::use_enroll_token(std::string_view hash, std::string_view host_uid,
                                                WallTime now) {
  auto rows = TRY(tx_.query(std::string(kSelectEnroll) + "WHERE hash = ?", hash));
  if (!TRY(rows.step()))
    return Error{Code::Unauthenticated, "TOKEN_UNKNOWN", "this token is not known"};
  auto token = read_enroll(rows);
  if (token.use_time && token.used_by_host_uid == host_uid) return token;
  if (token.use_time)
    return Error{Code::Unauthenticated, "TOKEN_USED", "this token was used by another host"}.remedy(
        "make a new one: a token admits one host");
  if (token.expire_time <= now)
    return Error{Code::Unauthenticated, "TOKEN_EXPIRED", "this token has expired"}.remedy(
        "make a new one");
  token.use_time = now;
  token.used_by_host_uid = host_uid;
  TRY(tx_.execute("UPDATE enroll_token SET use_time = ?, used_by_host_uid = ? WHERE hash = ?", now,
                  host_uid, hash));
  return token;
}

Result<int> TokenRepo::remove_enroll_tokens_before(WallTime time, int limit) {
  return tx_.execute(
      "DELETE FROM enroll_token WHERE hash IN (SELECT hash FROM enroll_token WHERE expire_time < ? "
      "ORDER BY expire_time LIMIT ?)",
      time, limit);
}

}  // namespace reeve::db
