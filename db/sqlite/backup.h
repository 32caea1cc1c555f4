// db/sqlite/backup.h - verified copies of a live database, and putting one back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/status.h"
#include "db/sqlite/database.h"

namespace reeve::db {

/// Copies `source` page by page into a new self-contained file (no WAL beside it) and checks the
/// copy. Replaces what is at `target`. Writers go on meanwhile; the copy is one snapshot. Uses
/// source's VFS.
Status copy_database(Database& source, const std::filesystem::path& target);

/// What a backup is; read from the file itself.
struct BackupFacts {
  int schema = 0;
  std::int64_t revision = 0;  ///< last change it holds
  std::int64_t bytes = 0;
};

/// Online backup of the database at `source` to `target`: written beside it, verified (quick_check,
/// foreign keys), fsynced, then renamed. A crash leaves no half backup under that name.
/// AlreadyExists/FILE_EXISTS when `target` exists.
Result<BackupFacts> backup_to_file(const std::filesystem::path& source,
                                   const std::filesystem::path& target);

/// Whether `file` can be restored by this program: DB_FOREIGN, DB_NEWER_SCHEMA, DB_CORRUPT
/// otherwise.
Result<BackupFacts> verify_backup(const std::filesystem::path& file);

struct Restored {
  BackupFacts facts{};
  std::filesystem::path kept{};  ///< where the replaced database is now; empty if there was none
};

/// Puts the verified backup `file` in the place of `database`, in one rename. The server must be
/// stopped: FailedPrecondition/DB_IN_USE otherwise. The old database is kept as
/// `<database>.replaced-<n>`. The revision counter continues above both databases' and the feed's
/// floor moves there, so no watcher mistakes a change of the new time line for one it has seen.
Result<Restored> restore_from_file(const std::filesystem::path& file,
                                   const std::filesystem::path& database);

/// For a database that was put in place by other means than restore_from_file(), as a copy or a
/// snapshot of the disk: lets revisions and epoch continue above everything that the lost one can
/// have given out, so that agents obey this server again and watchers list anew. The server must be
/// stopped: FailedPrecondition/DB_IN_USE. NotFound/FILE_NOT_FOUND. Returns the new epoch.
Result<std::int64_t> advance_past_lost(const std::filesystem::path& database);

}  // namespace reeve::db
