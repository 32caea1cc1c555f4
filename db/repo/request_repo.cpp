#include "db/repo/request_repo.h"

#include <string>

namespace reeve::db {

Result<std::optional<StoredRequest>> RequestReader::find(std::string_view caller,
                                                         std::string_view request_id,
                                                         std::string_view method,
                                                         std::string_view body_sha256,
                                                         WallTime now) {
  auto rows = TRY(read_.query(
      "SELECT caller, request_id, method, body_sha256, job_uid, response, create_time, expire_time "
      "FROM request WHERE caller = ? AND request_id = ? AND expire_time > ?",
      caller, request_id, now));
  if (!TRY(rows.step())) return std::optional<StoredRequest>{};
  StoredRequest found{.caller = rows.text(0),
                      .request_id = rows.text(1),
                      .method = rows.text(2),
                      .body_sha256 = rows.text(3),
                      .job_uid = rows.text(4),
                      .response = rows.blob(5),
                      .create_time = rows.time(6),
                      .expire_time = rows.time(7)};
  if (found.method != method || found.body_sha256 != body_sha256)
    return Error{
        Code::InvalidArgument, "REQUEST_ID_REUSED",
        "request_id '" + found.request_id + "' was used for another request (" + found.method + ")"}
        .remedy("use a new request_id for a new request");
  return std::optional(std::move(found));
}

Status RequestRepo::insert(const StoredRequest& request) {
  TRY(tx_.execute("DELETE FROM request WHERE caller = ? AND request_id = ? AND expire_time <= ?",
                  request.caller, request.request_id, request.create_time));
  TRY(tx_.execute(
      "INSERT INTO request (caller, request_id, method, body_sha256, job_uid, response, "
      "create_time, expire_time) VALUES (?,?,?,?,?,?,?,?)",
      request.caller, request.request_id, request.method, request.body_sha256,
      null_if_empty(request.job_uid), Blob{request.response}, request.create_time,
      WallTime(request.create_time + kRequestLifetime)));
  return {};
}

Result<int> RequestRepo::remove_expired(WallTime now, int limit) {
  return tx_.execute(
      "DELETE FROM request WHERE (caller, request_id) IN (SELECT caller, request_id FROM request "
      "WHERE expire_time <= ? ORDER BY expire_time LIMIT ?)",
      now, limit);
}

}  // namespace reeve::db
