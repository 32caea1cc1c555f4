// agent/driver/core/record.h - a GuestDefinition as the machine the core runs, and back on disk.
#pragma once

#include <string>
#include <vector>

#include "agent/driver/driver.h"
#include "base/status.h"
#include "reeve/core/v1/guest_record.pb.h"

namespace reeve::agent::core_driver {

/// InvalidArgument/GUEST_INVALID names what the core cannot do.
Result<core::v1::GuestRecord> record_of(const GuestDefinition& guest);

/// What of `record` takes effect only at the next start: "spec.cpus", ...
std::vector<std::string> pending_restart(const core::v1::GuestRecord& record);

/// One file per guest in a folder.
class RecordStore {
 public:
  explicit RecordStore(std::string folder) : folder_(std::move(folder)) {}
  /// All of them; a file that is not a record is skipped and logged.
  Result<std::vector<core::v1::GuestRecord>> load() const;
  Status write(const core::v1::GuestRecord& record) const;
  Status remove(const std::string& uid) const;

 private:
  std::string path_of(const std::string& uid) const { return folder_ + "/" + uid + ".pb"; }
  const std::string folder_;
};

}  // namespace reeve::agent::core_driver
