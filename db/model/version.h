// db/model/version.h - one version of one object: an entry of the change feed and of the history.
#pragma once

#include <cstdint>
#include <string>

#include "db/model/object.h"

namespace reeve::db {

/// Enough to render the resource as it was. For jobs spec is empty and status is Job::doc.
struct Version {
  std::int64_t revision = 0;  ///< set by append
  ObjectKind kind = ObjectKind::Vm;
  std::string uid{};
  std::string name{};  ///< for jobs: the target's name
  std::string state{};
  std::string host_uid{};  ///< may be empty
  std::string etag{};
  WallTime create_time{};
  WallTime time{};  ///< of this version
  std::string actor{};
  std::string job_uid{};
  bool deleted = false;  ///< the object's last version; documents are those it had
  std::string spec{};
  std::string status{};
};

}  // namespace reeve::db
