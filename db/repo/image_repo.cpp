#include "db/repo/image_repo.h"

#include "db/repo/feed_repo.h"
#include "db/repo/object_sql.h"

namespace reeve::db {
namespace {

// One list of columns, one function that reads them: they cannot drift apart.
constexpr std::string_view kSelect =
    "SELECT uid, name, etag, revision, create_time, update_time, kind, format, state, size_bytes, "
    "sha256, host_uid, spec, status, status_observed_at FROM image ";

Image read_row(const Statement& row) {
  Image out;
  read_head(row, out);
  out.kind = row.text(6);
  out.format = row.text(7);
  out.state = row.text(8);
  out.size_bytes = row.integer(9);
  out.sha256 = row.text(10);
  out.host_uid = row.text(11);
  out.spec = row.blob(12);
  out.status = row.blob(13);
  out.status_observed_at = row.maybe_time(14);
  return out;
}

constexpr Noun<Image> kImage{ObjectKind::Image, kSelect, read_row};

}  // namespace

Result<Image> ImageReader::get(std::string_view uid) {
  return find_row(read_, kImage, "uid = ?", uid);
}

Result<Image> ImageReader::get_by_name(std::string_view name) {
  return find_row(read_, kImage, "name = ?", name);
}

Result<std::vector<Image>> ImageReader::list(const Filter& filter, ObjectOrder order,
                                             const Page& page) {
  return list_rows(read_, kImage, filter, column_of(order), page);
}

Result<Image> ImageRepo::insert(Image row, const Change& change) {
  FeedRepo feed(tx_);
  row.create_time = change.time;
  TRY(stamp(feed, row, change, Touch::Intent));
  auto written = tx_.execute(
      "INSERT INTO image (uid, name, etag, revision, create_time, update_time, kind, format, "
      "state, size_bytes, sha256, host_uid, spec, status, status_observed_at) VALUES "
      "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
      row.uid, row.name, row.etag, row.revision, row.create_time, row.update_time, row.kind,
      row.format, row.state, row.size_bytes, null_if_empty(row.sha256), null_if_empty(row.host_uid),
      Blob{row.spec}, Blob{row.status}, row.status_observed_at);
  return announced(feed, ObjectKind::Image, std::move(row), change, std::move(written));
}

Result<Image> ImageRepo::update(Image row, const Change& change) {
  auto stored = TRY(get(row.uid));
  TRY(check_etag(row.etag, stored, ObjectKind::Image));
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Intent));
  stored.name = std::move(row.name);
  stored.kind = std::move(row.kind);
  stored.host_uid = std::move(row.host_uid);
  stored.spec = std::move(row.spec);
  auto written = tx_.execute(
      "UPDATE image SET name = ?, kind = ?, host_uid = ?, spec = ?, etag = ?, revision "
      "= ?, update_time = ? WHERE uid = ?",
      stored.name, stored.kind, null_if_empty(stored.host_uid), Blob{stored.spec}, stored.etag,
      stored.revision, stored.update_time, stored.uid);
  return announced(feed, ObjectKind::Image, std::move(stored), change, std::move(written));
}

Result<Image> ImageRepo::update_status(const Image& row, const Change& change) {
  auto stored = TRY(get(row.uid));
  stored.status_observed_at = row.status_observed_at;
  if (stored.format == row.format && stored.state == row.state &&
      stored.size_bytes == row.size_bytes && stored.sha256 == row.sha256 &&
      stored.status == row.status)
    return seen_again(tx_, ObjectKind::Image, std::move(stored));
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Status));
  stored.format = row.format;
  stored.state = row.state;
  stored.size_bytes = row.size_bytes;
  stored.sha256 = row.sha256;
  stored.status = row.status;
  auto written = tx_.execute(
      "UPDATE image SET format = ?, state = ?, size_bytes = ?, sha256 = ?, status = ?, "
      "status_observed_at = ?, revision = ?, update_time = ? WHERE uid = ?",
      stored.format, stored.state, stored.size_bytes, null_if_empty(stored.sha256),
      Blob{stored.status}, stored.status_observed_at, stored.revision, stored.update_time,
      stored.uid);
  return announced(feed, ObjectKind::Image, std::move(stored), change, std::move(written));
}

Status ImageRepo::remove(std::string_view uid, std::string_view etag, const Change& change) {
  return remove_row(tx_, kImage, uid, etag, change);
}

}  // namespace reeve::db
