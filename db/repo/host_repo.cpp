#include "db/repo/host_repo.h"

#include "db/repo/feed_repo.h"
#include "db/repo/object_sql.h"

namespace reeve::db {
namespace {

// One list of columns, one function that reads them: they cannot drift apart.
constexpr std::string_view kSelect =
    "SELECT uid, name, etag, revision, create_time, update_time, state, address, cert_key_sha256, "
    "spec, status, status_observed_at, link_epoch, link_last_seq, last_seen, "
    "link_features FROM host ";

Host read_row(const Statement& row) {
  Host out;
  read_head(row, out);
  out.state = row.text(6);
  out.address = row.text(7);
  out.cert_key_sha256 = row.text(8);
  out.spec = row.blob(9);
  out.status = row.blob(10);
  out.status_observed_at = row.maybe_time(11);
  out.link_epoch = row.integer(12);
  out.link_last_seq = row.integer(13);
  out.last_seen = row.maybe_time(14);
  out.link_features = row.text(15);
  return out;
}

constexpr Noun<Host> kHost{ObjectKind::Host, kSelect, read_row};

}  // namespace

Result<Host> HostReader::get(std::string_view uid) {
  return find_row(read_, kHost, "uid = ?", uid);
}

Result<Host> HostReader::get_by_name(std::string_view name) {
  return find_row(read_, kHost, "name = ?", name);
}

Result<Host> HostReader::get_by_key(std::string_view cert_key_sha256) {
  return find_row(read_, kHost, "cert_key_sha256 = ?", cert_key_sha256);
}

Result<std::vector<Host>> HostReader::list(const Filter& filter, ObjectOrder order,
                                           const Page& page) {
  return list_rows(read_, kHost, filter, column_of(order), page);
}

Result<Host> HostRepo::insert(Host row, const Change& change) {
  FeedRepo feed(tx_);
  row.create_time = change.time;
  TRY(stamp(feed, row, change, Touch::Intent));
  auto written = tx_.execute(
      "INSERT INTO host (uid, name, etag, revision, create_time, update_time, state, address, "
      "cert_key_sha256, spec, status, status_observed_at, link_epoch, link_last_seq, "
      "last_seen) "
      "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
      row.uid, row.name, row.etag, row.revision, row.create_time, row.update_time, row.state,
      row.address, null_if_empty(row.cert_key_sha256), Blob{row.spec}, Blob{row.status},
      row.status_observed_at, row.link_epoch, row.link_last_seq, row.last_seen);
  return announced(feed, ObjectKind::Host, std::move(row), change, std::move(written));
}

Result<Host> HostRepo::update(Host row, const Change& change) {
  auto stored = TRY(get(row.uid));
  TRY(check_etag(row.etag, stored, ObjectKind::Host));
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Intent));
  stored.name = std::move(row.name);
  stored.address = std::move(row.address);
  stored.cert_key_sha256 = std::move(row.cert_key_sha256);
  stored.spec = std::move(row.spec);
  auto written = tx_.execute(
      "UPDATE host SET name = ?, address = ?, cert_key_sha256 = ?, spec = ?, etag = ?, "
      "revision = ?, update_time = ? WHERE uid = ?",
      stored.name, stored.address, null_if_empty(stored.cert_key_sha256), Blob{stored.spec},
      stored.etag, stored.revision, stored.update_time, stored.uid);
  return announced(feed, ObjectKind::Host, std::move(stored), change, std::move(written));
}

Result<Host> HostRepo::update_status(const Host& row, const Change& change) {
  auto stored = TRY(get(row.uid));
  stored.status_observed_at = row.status_observed_at;
  if (stored.state == row.state && stored.status == row.status)
    return seen_again(tx_, ObjectKind::Host, std::move(stored));
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Status));
  stored.state = row.state;
  stored.status = row.status;
  auto written = tx_.execute(
      "UPDATE host SET state = ?, status = ?, status_observed_at = ?, revision = ?, "
      "update_time = ? WHERE uid = ?",
      stored.state, Blob{stored.status}, stored.status_observed_at, stored.revision,
      stored.update_time, stored.uid);
  return announced(feed, ObjectKind::Host, std::move(stored), change, std::move(written));
}

Status HostRepo::update_link(std::string_view uid, std::int64_t epoch, std::int64_t last_seq,
                             WallTime last_seen) {
  const int changed = TRY(
      tx_.execute("UPDATE host SET link_epoch = ?, link_last_seq = ?, last_seen = ? WHERE uid = ?",
                  epoch, last_seq, last_seen, uid));
  if (changed == 1) return {};
  return Error{Code::NotFound, "HOST_NOT_FOUND", "no host '" + std::string(uid) + "'"};
}

Status HostRepo::update_features(std::string_view uid, std::string_view features) {
  TRY(tx_.execute("UPDATE host SET link_features = ? WHERE uid = ?", features, uid));
  return {};
}

Status HostRepo::remove(std::string_view uid, std::string_view etag, const Change& change) {
  return remove_row(tx_, kHost, uid, etag, change);
}

}  // namespace reeve::db
