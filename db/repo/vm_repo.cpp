#include "db/repo/vm_repo.h"

#include "db/repo/feed_repo.h"
#include "db/repo/list_query.h"
#include "db/repo/object_sql.h"

namespace reeve::db {
namespace {

// One list of columns, one function that reads them: they cannot drift apart.
constexpr std::string_view kSelect =
    "SELECT uid, name, etag, revision, create_time, update_time, host_uid, hypervisor_uid, state, "
    "cpus, memory_mib, origin, spec, status, status_observed_at FROM vm ";

Vm read_row(const Statement& row) {
  Vm out;
  out.uid = row.text(0);
  out.name = row.text(1);
  out.etag = row.text(2);
  out.revision = row.integer(3);
  out.create_time = row.time(4);
  out.update_time = row.time(5);
  out.host_uid = row.text(6);
  out.hypervisor_uid = row.text(7);
  out.state = row.text(8);
  out.cpus = row.integer(9);
  out.memory_mib = row.integer(10);
  out.origin = row.text(11);
  out.spec = row.blob(12);
  out.status = row.blob(13);
  out.status_observed_at = row.maybe_time(14);
  return out;
}

OrderColumn column_of(VmOrder order) {
  switch (order) {
    case VmOrder::Name: break;
    case VmOrder::CreateTime: return {"create_time", OrderColumn::Type::Number};
    case VmOrder::Cpus: return {"cpus", OrderColumn::Type::Number};
    case VmOrder::MemoryMib: return {"memory_mib", OrderColumn::Type::Number};
  }
  return {"name", OrderColumn::Type::UniqueText};
}

Error not_found(std::string_view which) {
  return {Code::NotFound, "VM_NOT_FOUND", "no vm '" + std::string(which) + "'"};
}

}  // namespace

Result<Vm> VmReader::get(std::string_view uid) {
  auto rows = TRY(read_.query(std::string(kSelect) + "WHERE uid = ?", uid));
  if (TRY(rows.step())) return read_row(rows);
  return not_found(uid);
}

Result<Vm> VmReader::get_by_name(std::string_view name) {
  auto rows = TRY(read_.query(std::string(kSelect) + "WHERE name = ?", name));
  if (TRY(rows.step())) return read_row(rows);
  return not_found(name);
}

Result<std::vector<Vm>> VmReader::list(const VmFilter& filter, VmOrder order, const Page& page) {
  ListQuery query(kSelect);
  query.equals("host_uid", filter.host_uid)
      .equals("hypervisor_uid", filter.hypervisor_uid)
      .equals("state", filter.state)
      .name_glob(filter.name_glob);
  auto rows = TRY(query.run(read_, column_of(order), page));
  return read_all(rows, read_row);
}

PageKey VmReader::key_of(const Vm& row, VmOrder order) {
  switch (order) {
    case VmOrder::Name: break;
    case VmOrder::CreateTime: return {time_key(row.create_time), row.uid};
    case VmOrder::Cpus: return {std::to_string(row.cpus), row.uid};
    case VmOrder::MemoryMib: return {std::to_string(row.memory_mib), row.uid};
  }
  return {row.name, row.uid};
}

Result<std::vector<HostLoad>> VmReader::host_loads() {
  auto rows = TRY(read_.query(
      "SELECT host_uid, count(*), sum(cpus), sum(memory_mib) FROM vm WHERE host_uid IS NOT NULL "
      "GROUP BY host_uid"));
  return read_all(rows, [](const Statement& row) {
    return HostLoad{.host_uid = row.text(0),
                    .vms = row.integer(1),
                    .cpus = row.integer(2),
                    .memory_mib = row.integer(3)};
  });
}

Result<Vm> VmRepo::insert(Vm row, const Change& change) {
  FeedRepo feed(tx_);
  row.create_time = change.time;
  TRY(stamp(feed, row, change, Touch::Intent));
  TRY(named(
      tx_.execute("INSERT INTO vm (uid, name, etag, revision, create_time, update_time, host_uid, "
                  "hypervisor_uid, state, cpus, memory_mib, origin, spec, status, "
                  "status_observed_at) VALUES "
                  "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                  row.uid, row.name, row.etag, row.revision, row.create_time, row.update_time,
                  null_if_empty(row.host_uid), null_if_empty(row.hypervisor_uid), row.state,
                  row.cpus, row.memory_mib, row.origin, Blob{row.spec}, Blob{row.status},
                  row.status_observed_at),
      ObjectKind::Vm, row));
  TRY(feed.append(version_of(ObjectKind::Vm, row, change)));
  return row;
}

Result<Vm> VmRepo::update(Vm row, const Change& change) {
  auto stored = TRY(get(row.uid));
  TRY(check_etag(row.etag, stored, ObjectKind::Vm));
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Intent));
  stored.name = std::move(row.name);
  stored.host_uid = std::move(row.host_uid);
  stored.hypervisor_uid = std::move(row.hypervisor_uid);
  stored.cpus = row.cpus;
  stored.memory_mib = row.memory_mib;
  stored.origin = std::move(row.origin);
  stored.spec = std::move(row.spec);
  TRY(named(
      tx_.execute("UPDATE vm SET name = ?, host_uid = ?, hypervisor_uid = ?, cpus = ?, memory_mib "
                  "= ?, origin "
                  "= ?, spec = ?, etag = ?, revision = ?, update_time = ? WHERE uid = ?",
                  stored.name, null_if_empty(stored.host_uid), null_if_empty(stored.hypervisor_uid),
                  stored.cpus, stored.memory_mib, stored.origin, Blob{stored.spec}, stored.etag,
                  stored.revision, stored.update_time, stored.uid),
      ObjectKind::Vm, stored));
  TRY(feed.append(version_of(ObjectKind::Vm, stored, change)));
  return stored;
}

Result<Vm> VmRepo::update_status(const Vm& row, const Change& change) {
  auto stored = TRY(get(row.uid));
  stored.status_observed_at = row.status_observed_at;
  if (stored.state == row.state && stored.status == row.status) {
    TRY(tx_.execute("UPDATE vm SET status_observed_at = ? WHERE uid = ?", stored.status_observed_at,
                    stored.uid));
    return stored;
  }
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Status));
  stored.state = row.state;
  stored.status = row.status;
  TRY(
      tx_.execute("UPDATE vm SET state = ?, status = ?, status_observed_at = ?, revision = ?, "
                  "update_time = ? WHERE uid = ?",
                  stored.state, Blob{stored.status}, stored.status_observed_at, stored.revision,
                  stored.update_time, stored.uid));
  TRY(feed.append(version_of(ObjectKind::Vm, stored, change)));
  return stored;
}

Status VmRepo::remove(std::string_view uid, std::string_view etag, const Change& change) {
  auto stored = TRY(get(uid));
  TRY(check_etag(etag, stored, ObjectKind::Vm));
  FeedRepo feed(tx_);
  TRY(tx_.execute("DELETE FROM vm WHERE uid = ?", uid));
  return append_removal(feed, version_of(ObjectKind::Vm, stored, change));
}

}  // namespace reeve::db
