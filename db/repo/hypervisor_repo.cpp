#include "db/repo/hypervisor_repo.h"

#include "db/repo/feed_repo.h"
#include "db/repo/object_sql.h"

namespace reeve::db {
namespace {

// One list of columns, one function that reads them: they cannot drift apart.
constexpr std::string_view kSelect =
    "SELECT uid, name, etag, revision, create_time, update_time, host_uid, kind, state, spec, "
    "status, status_observed_at FROM hypervisor ";

Hypervisor read_row(const Statement& row) {
  Hypervisor out;
  read_head(row, out);
  out.host_uid = row.text(6);
  out.kind = row.text(7);
  out.state = row.text(8);
  out.spec = row.blob(9);
  out.status = row.blob(10);
  out.status_observed_at = row.maybe_time(11);
  return out;
}

constexpr Noun<Hypervisor> kHypervisor{ObjectKind::Hypervisor, kSelect, read_row};

}  // namespace

Result<Hypervisor> HypervisorReader::get(std::string_view uid) {
  return find_row(read_, kHypervisor, "uid = ?", uid);
}

Result<Hypervisor> HypervisorReader::get_by_name(std::string_view host_uid, std::string_view name) {
  return find_row(read_, kHypervisor, "host_uid = ? AND name = ?", host_uid, name);
}

Result<std::vector<Hypervisor>> HypervisorReader::list(const Filter& filter, const Page& page) {
  return list_rows(read_, kHypervisor, filter, {"name", OrderColumn::Type::Text}, page);
}

Result<Hypervisor> HypervisorRepo::insert(Hypervisor row, const Change& change) {
  FeedRepo feed(tx_);
  row.create_time = change.time;
  TRY(stamp(feed, row, change, Touch::Intent));
  auto written = tx_.execute(
      "INSERT INTO hypervisor (uid, name, etag, revision, create_time, update_time, host_uid, "
      "kind, state, spec, status, status_observed_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
      row.uid, row.name, row.etag, row.revision, row.create_time, row.update_time, row.host_uid,
      row.kind, row.state, Blob{row.spec}, Blob{row.status}, row.status_observed_at);
  return announced(feed, ObjectKind::Hypervisor, std::move(row), change, std::move(written));
}

Result<Hypervisor> HypervisorRepo::update(Hypervisor row, const Change& change) {
  auto stored = TRY(get(row.uid));
  TRY(check_etag(row.etag, stored, ObjectKind::Hypervisor));
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Intent));
  stored.name = std::move(row.name);
  stored.kind = std::move(row.kind);
  stored.spec = std::move(row.spec);
  auto written = tx_.execute(
      "UPDATE hypervisor SET name = ?, kind = ?, spec = ?, etag = ?, revision = ?, "
      "update_time = ? WHERE uid = ?",
      stored.name, stored.kind, Blob{stored.spec}, stored.etag, stored.revision, stored.update_time,
      stored.uid);
  return announced(feed, ObjectKind::Hypervisor, std::move(stored), change, std::move(written));
}

Result<Hypervisor> HypervisorRepo::update_status(const Hypervisor& row, const Change& change) {
  auto stored = TRY(get(row.uid));
  stored.status_observed_at = row.status_observed_at;
  if (stored.state == row.state && stored.status == row.status)
    return seen_again(tx_, ObjectKind::Hypervisor, std::move(stored));
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Status));
  stored.state = row.state;
  stored.status = row.status;
  auto written = tx_.execute(
      "UPDATE hypervisor SET state = ?, status = ?, status_observed_at = ?, revision = "
      "?, update_time = ? WHERE uid = ?",
      stored.state, Blob{stored.status}, stored.status_observed_at, stored.revision,
      stored.update_time, stored.uid);
  return announced(feed, ObjectKind::Hypervisor, std::move(stored), change, std::move(written));
}

Status HypervisorRepo::remove(std::string_view uid, std::string_view etag, const Change& change) {
  return remove_row(tx_, kHypervisor, uid, etag, change);
}

}  // namespace reeve::db
