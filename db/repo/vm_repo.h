// db/repo/vm_repo.h - rows of table `vm`. Knows SQL; knows no policy.
//
// Every change makes a version (feed_repo.h) in the same transaction.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/filter.h"
#include "db/model/vm.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

/// A view over an open transaction: cheap to make, never outlives it.
class VmReader {
 public:
  explicit VmReader(ReadTransaction& tx) : read_(tx) {}

  /// NotFound/VM_NOT_FOUND when absent.
  Result<Vm> get(std::string_view uid);
  /// NotFound/VM_NOT_FOUND when absent.
  Result<Vm> get_by_name(std::string_view name);
  /// The machine with a network card of this address. NotFound/VM_NOT_FOUND when it is free.
  Result<Vm> get_by_mac(std::string_view mac);
  /// Names of the machines made with an image, in no order, at most `limit`.
  Result<std::vector<std::string>> users_of_image(std::string_view image_uid, int limit);
  /// At most page.limit rows after page.after that match; key_of() (db/model/object.h) continues.
  Result<std::vector<Vm>> list(const Filter& filter, ObjectOrder order, const Page& page);
  /// How many machines are placed on a host.
  Result<std::int64_t> count_on(std::string_view host_uid);
  /// Sums per host over every machine that is placed, in any state; hosts without one are left out.
  Result<std::vector<HostLoad>> host_loads();

 private:
  ReadTransaction& read_;
};

/// Writes set etag, revision and times, and return the row as stored.
class VmRepo : public VmReader {
 public:
  explicit VmRepo(Transaction& tx) : VmReader(tx), tx_(tx) {}

  /// AlreadyExists/DB_UNIQUE when the uid or name is taken.
  Result<Vm> insert(Vm row, const Change& change);
  /// Writes intent: name, host_uid, hypervisor_uid, cpus, memory_mib, origin and spec. Leaves state
  /// and status alone. Aborted/STALE_ETAG when row.etag is not the stored one; an empty etag writes
  /// unconditionally.
  Result<Vm> update(Vm row, const Change& change);
  /// Writes what was observed: state, status and status_observed_at. Leaves intent and etag alone.
  /// When nothing but status_observed_at differs, that is stored and no version is made.
  Result<Vm> update_status(const Vm& row, const Change& change);
  /// Writes what the machine is made with, for get_by_mac() and users_of_image(). Makes no version:
  /// it is part of the spec.
  Status set_devices(std::string_view uid, const VmDevices& devices);
  /// The last version is marked deleted. Aborted/STALE_ETAG as in update; FailedPrecondition/
  /// DB_FOREIGN_KEY while other rows refer to it.
  Status remove(std::string_view uid, std::string_view etag, const Change& change);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
