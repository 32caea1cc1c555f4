// db/sqlite/lock.h - one process at a time: the server while it runs, or a restore.
#pragma once

#include <filesystem>

#include "base/fd.h"
#include "base/status.h"

namespace reeve::db {

/// Takes `<path>.lock` for as long as the Fd lives. FailedPrecondition/DB_IN_USE when another has
/// it.
Result<Fd> lock_database(const std::filesystem::path& path);

}  // namespace reeve::db
