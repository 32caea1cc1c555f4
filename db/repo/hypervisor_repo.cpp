#include "db/repo/hypervisor_repo.h"

#include "db/repo/feed_repo.h"
#include "db/repo/list_query.h"
#include "db/repo/object_sql.h"

namespace reeve::db {
namespace {

// One list of columns, one function that reads them: they cannot drift apart.
constexpr std::string_view kSelect =
    "SELECT uid, name, etag, revision, create_time, update_time, host_uid, kind, state, spec, "
    "status, status_observed_at FROM hypervisor ";

Hypervisor read_row(const Statement& row) {
  Hypervisor out;
  out.uid = row.text(0);
  out.name = row.text(1);
  out.etag = row.text(2);
  out.revision = row.integer(3);
  out.create_time = row.time(4);
  out.update_time = row.time(5);
  out.host_uid = row.text(6);
  out.kind = row.text(7);
  out.state = row.text(8);
  out.spec = row.blob(9);
  out.status = row.blob(10);
  out.status_observed_at = row.maybe_time(11);
  return out;
}

OrderColumn column_of(HypervisorOrder order) {
  switch (order) {
    case HypervisorOrder::Name: break;
    case HypervisorOrder::CreateTime: return {"create_time", OrderColumn::Type::Number};
  }
  return {"name", OrderColumn::Type::Text};
}

Error not_found(std::string_view which) {
  return {Code::NotFound, "HYPERVISOR_NOT_FOUND", "no hypervisor '" + std::string(which) + "'"};
}

}  // namespace

Result<Hypervisor> HypervisorReader::get(std::string_view uid) {
  auto rows = TRY(read_.query(std::string(kSelect) + "WHERE uid = ?", uid));
  if (TRY(rows.step())) return read_row(rows);
  return not_found(uid);
}

Result<Hypervisor> HypervisorReader::get_by_name(std::string_view host_uid, std::string_view name) {
  auto rows =
      TRY(read_.query(std::string(kSelect) + "WHERE host_uid = ? AND name = ?", host_uid, name));
  if (TRY(rows.step())) return read_row(rows);
  return not_found(name);
}

Result<std::vector<Hypervisor>> HypervisorReader::list(const HypervisorFilter& filter,
                                                       HypervisorOrder order, const Page& page) {
  ListQuery query(kSelect);
  query.equals("host_uid", filter.host_uid)
      .equals("kind", filter.kind)
      .equals("state", filter.state)
      .name_glob(filter.name_glob);
  auto rows = TRY(query.run(read_, column_of(order), page));
  return read_all(rows, read_row);
}

PageKey HypervisorReader::key_of(const Hypervisor& row, HypervisorOrder order) {
  switch (order) {
    case HypervisorOrder::Name: break;
    case HypervisorOrder::CreateTime: return {time_key(row.create_time), row.uid};
  }
  return {row.name, row.uid};
}

Result<Hypervisor> HypervisorRepo::insert(Hypervisor row, const Change& change) {
  FeedRepo feed(tx_);
  row.create_time = change.time;
  TRY(stamp(feed, row, change, Touch::Intent));
  TRY(named(
      tx_.execute(
          "INSERT INTO hypervisor (uid, name, etag, revision, create_time, update_time, host_uid, "
          "kind, state, spec, status, status_observed_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
          row.uid, row.name, row.etag, row.revision, row.create_time, row.update_time, row.host_uid,
          row.kind, row.state, Blob{row.spec}, Blob{row.status}, row.status_observed_at),
      ObjectKind::Hypervisor, row));
  TRY(feed.append(version_of(ObjectKind::Hypervisor, row, change)));
  return row;
}

Result<Hypervisor> HypervisorRepo::update(Hypervisor row, const Change& change) {
  auto stored = TRY(get(row.uid));
  TRY(check_etag(row.etag, stored, ObjectKind::Hypervisor));
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Intent));
  stored.name = std::move(row.name);
  stored.kind = std::move(row.kind);
  stored.spec = std::move(row.spec);
  TRY(named(
      tx_.execute("UPDATE hypervisor SET name = ?, kind = ?, spec = ?, etag = ?, revision = ?, "
                  "update_time = ? WHERE uid = ?",
                  stored.name, stored.kind, Blob{stored.spec}, stored.etag, stored.revision,
                  stored.update_time, stored.uid),
      ObjectKind::Hypervisor, stored));
  TRY(feed.append(version_of(ObjectKind::Hypervisor, stored, change)));
  return stored;
}

Result<Hypervisor> HypervisorRepo::update_status(const Hypervisor& row, const Change& change) {
  auto stored = TRY(get(row.uid));
  stored.status_observed_at = row.status_observed_at;
  if (stored.state == row.state && stored.status == row.status) {
    TRY(tx_.execute("UPDATE hypervisor SET status_observed_at = ? WHERE uid = ?",
                    stored.status_observed_at, stored.uid));
    return stored;
  }
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Status));
  stored.state = row.state;
  stored.status = row.status;
  TRY(
      tx_.execute("UPDATE hypervisor SET state = ?, status = ?, status_observed_at = ?, revision = "
                  "?, update_time = ? WHERE uid = ?",
                  stored.state, Blob{stored.status}, stored.status_observed_at, stored.revision,
                  stored.update_time, stored.uid));
  TRY(feed.append(version_of(ObjectKind::Hypervisor, stored, change)));
  return stored;
}

Status HypervisorRepo::remove(std::string_view uid, std::string_view etag, const Change& change) {
  auto stored = TRY(get(uid));
  TRY(check_etag(etag, stored, ObjectKind::Hypervisor));
  FeedRepo feed(tx_);
  TRY(tx_.execute("DELETE FROM hypervisor WHERE uid = ?", uid));
  return append_removal(feed, version_of(ObjectKind::Hypervisor, stored, change));
}

}  // namespace reeve::db
