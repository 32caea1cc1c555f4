// db/sqlite/error.h - the one place where SQLite's result codes become errors.
//
//   DISK_FULL        ResourceExhausted   no room for the write; nothing was changed
//   DB_CORRUPT       DataLoss            the file is damaged, or not a database
//   DB_UNIQUE        AlreadyExists       a row with this key is there
//   DB_FOREIGN_KEY   FailedPrecondition  another row refers to this one, or the one referred to is
//   gone DB_CONSTRAINT    Internal            any other broken rule of the schema: our bug DB_IO
//   Unavailable         the disk failed DB_BUSY          Unavailable         another process holds
//   the lock for longer than the busy timeout DB_READ_ONLY     FailedPrecondition  writes are
//   refused DB_CANNOT_OPEN   FailedPrecondition  the file cannot be opened or created DB_TOO_BIG
//   InvalidArgument     a value beyond SQLite's limits DB_INTERRUPTED   Cancelled DB_ERROR Internal
//   everything else: our bug
#pragma once

#include <string_view>

#include "base/status.h"

struct sqlite3;

namespace reeve::db {

/// The error of a failed call on `connection` (may be null) that returned `result_code`; reads
/// "what: SQLite's message".
Error sqlite_error(sqlite3* connection, int result_code, std::string_view what);

/// The same for a failed statement. Its text stays in the message only where it helps: in our own
/// bugs. DB_UNIQUE carries the taken columns as metadata "columns" ("vm.name").
Error statement_error(sqlite3* connection, int result_code, std::string_view sql);

/// True for errors after which the file must not be written to again before a person has looked.
bool is_damage(const Error& error);

}  // namespace reeve::db
