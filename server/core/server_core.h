// server/core/server_core.h - everything of the server that knows no gRPC, assembled.
//
//   ThreadLoop loop("core"), feed_loop("feed");
//   GroupWriter writer(store->take_writer_connection(), core_on_commit);   // see on_commit()
//   auto core = TRY(ServerCore::create({...}));
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/loop.h"
#include "base/random.h"
#include "base/status.h"
#include "db/readers.h"
#include "db/repo/audit_repo.h"
#include "db/writer.h"
#include "server/agents/agent_pool.h"
#include "server/app/host_service.h"
#include "server/app/image_service.h"
#include "server/app/job_service.h"
#include "server/app/vm_service.h"
#include "server/events/event_feed.h"

namespace reeve::server {

/// What can be tuned; the defaults are right for production.
struct CoreSettings {
  std::string version = "0.1.0";
  std::chrono::milliseconds heartbeat{5000};
  std::chrono::milliseconds metrics{15000};
  /// A host not heard of for this long counts as disconnected.
  std::chrono::milliseconds host_timeout{20000};
  /// A job whose step waits for an unreachable host is parked after this.
  std::chrono::milliseconds unreachable_grace{120000};
  /// Finished jobs are forgotten after this.
  std::chrono::hours job_retention{24 * 30};
  /// Versions are kept for this long.
  std::chrono::hours history_retention{24 * 90};
};

/// What the core is given; all of it outlives the core.
struct CoreParts {
  Loop* loop = nullptr;       ///< the core loop
  Loop* feed_loop = nullptr;  ///< may block on database reads; may be the core loop in simulations
  db::Writer* writer = nullptr;
  db::Readers* readers = nullptr;
  Random* random = nullptr;   ///< thread-safe unless everything is on one thread
  db::HashFunction sha256{};  ///< lower-case hex; thread-safe
  CoreSettings settings{};
};

class ServerCore {
 public:
  /// Raises the epoch, marks every host disconnected, loads unfinished jobs. Blocks on the
  /// database: call it before the loops run other work. Errors are the database's.
  static Result<std::unique_ptr<ServerCore>> create(const CoreParts& parts);
  virtual ~ServerCore() = default;

  virtual VmService& vms() = 0;
  virtual HostService& hosts() = 0;
  virtual ImageService& images() = 0;
  virtual JobService& jobs() = 0;
  virtual AgentPool& agents() = 0;
  virtual EventFeed& events() = 0;
  virtual std::uint64_t epoch() const = 0;

  /// Pass the writer's OnCommit here. Any thread.
  virtual void on_commit(std::int64_t first_revision, std::int64_t last_revision) = 0;
  /// Stops timers and ends watches; afterwards posted completions do nothing. Call on the core
  /// loop.
  virtual void stop() = 0;
};

}  // namespace reeve::server
