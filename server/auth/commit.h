// server/auth/commit.h - waits for a database change, for start-up code that has no loop yet.
#pragma once

#include "base/status.h"
#include "db/writer.h"

namespace reeve::server {

/// Blocks until `work` is durable or has failed. Never on a loop or the writer's thread.
Status commit_and_wait(db::Writer& writer, db::Writer::Work work);

}  // namespace reeve::server
