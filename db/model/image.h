// db/model/image.h - a disk image, an installation medium or a kernel in the library.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "db/model/object.h"

namespace reeve::db {

struct Image : ObjectHead {
  std::string kind{};
  std::string format{};  ///< "raw", "qcow2": recorded at import, never probed again
  std::string state{};
  std::int64_t size_bytes = 0;
  std::string sha256{};    ///< hex; empty while unknown
  std::string host_uid{};  ///< where its file is; empty while nowhere
  std::string spec{};
  std::string status{};
  std::optional<WallTime> status_observed_at{};
};

}  // namespace reeve::db
