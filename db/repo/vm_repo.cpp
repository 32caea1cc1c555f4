#include "db/repo/vm_repo.h"

#include "db/repo/feed_repo.h"
#include "db/repo/object_sql.h"

namespace reeve::db {
namespace {

// One list of columns, one function that reads them: they cannot drift apart.
constexpr std::string_view kSelect =
    "SELECT uid, name, etag, revision, create_time, update_time, host_uid, hypervisor_uid, state, "
    "cpus, memory_mib, origin, spec, status, status_observed_at FROM vm ";

Vm read_row(const Statement& row) {
  Vm out;
  read_head(row, out);
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

constexpr Noun<Vm> kVm{ObjectKind::Vm, kSelect, read_row};

}  // namespace

Result<Vm> VmReader::get(std::string_view uid) {
  return find_row(read_, kVm, "uid = ?", uid);
}

Result<Vm> VmReader::get_by_name(std::string_view name) {
  return find_row(read_, kVm, "name = ?", name);
}

Result<Vm> VmReader::get_by_mac(std::string_view mac) {
  return find_row(read_, kVm, "uid = (SELECT vm_uid FROM vm_mac WHERE mac = ? LIMIT 1)", mac);
}

Result<std::vector<std::string>> VmReader::users_of_image(std::string_view image_uid, int limit) {
  auto rows = TRY(read_.query(
      "SELECT vm.name FROM vm_image JOIN vm ON vm.uid = vm_image.vm_uid WHERE image_uid = ? "
      "LIMIT ?",
      image_uid, limit));
  return read_all(rows, [](const Statement& row) { return row.text(0); });
}

Result<std::vector<Vm>> VmReader::list(const Filter& filter, ObjectOrder order, const Page& page) {
  return list_rows(read_, kVm, filter, column_of(order), page);
}

Result<std::int64_t> VmReader::count_on(std::string_view host_uid) {
  return TRY(read_.integer("SELECT count(*) FROM vm WHERE host_uid = ?", host_uid)).value_or(0);
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
  auto written = tx_.execute(
      "INSERT INTO vm (uid, name, etag, revision, create_time, update_time, host_uid, "
      "hypervisor_uid, state, cpus, memory_mib, origin, spec, status, "
      "status_observed_at) VALUES "
      "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
      row.uid, row.name, row.etag, row.revision, row.create_time, row.update_time,
      null_if_empty(row.host_uid), null_if_empty(row.hypervisor_uid), row.state, row.cpus,
      row.memory_mib, row.origin, Blob{row.spec}, Blob{row.status}, row.status_observed_at);
  return announced(feed, ObjectKind::Vm, std::move(row), change, std::move(written));
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
  auto written = tx_.execute(
      "UPDATE vm SET name = ?, host_uid = ?, hypervisor_uid = ?, cpus = ?, memory_mib "
      "= ?, origin "
      "= ?, spec = ?, etag = ?, revision = ?, update_time = ? WHERE uid = ?",
      stored.name, null_if_empty(stored.host_uid), null_if_empty(stored.hypervisor_uid),
      stored.cpus, stored.memory_mib, stored.origin, Blob{stored.spec}, stored.etag,
      stored.revision, stored.update_time, stored.uid);
  return announced(feed, ObjectKind::Vm, std::move(stored), change, std::move(written));
}

Result<Vm> VmRepo::update_status(const Vm& row, const Change& change) {
  auto stored = TRY(get(row.uid));
  stored.status_observed_at = row.status_observed_at;
  if (stored.state == row.state && stored.status == row.status)
    return seen_again(tx_, ObjectKind::Vm, std::move(stored));
  FeedRepo feed(tx_);
  TRY(stamp(feed, stored, change, Touch::Status));
  stored.state = row.state;
  stored.status = row.status;
  auto written = tx_.execute(
      "UPDATE vm SET state = ?, status = ?, status_observed_at = ?, revision = ?, "
      "update_time = ? WHERE uid = ?",
      stored.state, Blob{stored.status}, stored.status_observed_at, stored.revision,
      stored.update_time, stored.uid);
  return announced(feed, ObjectKind::Vm, std::move(stored), change, std::move(written));
}

Status VmRepo::set_devices(std::string_view uid, const VmDevices& devices) {
  TRY(tx_.execute("DELETE FROM vm_mac WHERE vm_uid = ?", uid));
  TRY(tx_.execute("DELETE FROM vm_image WHERE vm_uid = ?", uid));
  for (const auto& mac : devices.macs)
    TRY(tx_.execute("INSERT OR IGNORE INTO vm_mac (mac, vm_uid) VALUES (?, ?)", mac, uid));
  for (const auto& image : devices.image_uids)
    TRY(tx_.execute("INSERT OR IGNORE INTO vm_image (image_uid, vm_uid) VALUES (?, ?)", image,
                    uid));
  return {};
}

Status VmRepo::remove(std::string_view uid, std::string_view etag, const Change& change) {
  return remove_row(tx_, kVm, uid, etag, change);
}

}  // namespace reeve::db
