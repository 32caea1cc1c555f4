// tests/support/db_image.h - a migrated, empty database as an image to load into a FaultDisk.
#pragma once

#include "tests/support/fault_disk.h"

namespace reeve::test {

inline constexpr const char* kDatabasePath = "/reeve.db";

/// Made once per process; holds one file, kDatabasePath.
const FaultDisk::Image& migrated_image();

}  // namespace reeve::test
