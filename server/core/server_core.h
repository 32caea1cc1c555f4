// server/core/server_core.h - everything of the server that knows no gRPC, assembled.
//
//   ThreadLoop loop("core"), feed_loop("feed");
//   auto connection = store->take_writer_connection();
//   const auto beginning = TRY(begin_server(*connection, clock, random));
//   GroupWriter writer(std::move(connection), on_commit);   // see on_commit()
//   auto core = TRY(ServerCore::create({...}, beginning));
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
#include "server/app/hypervisor_service.h"
#include "server/app/image_service.h"
#include "server/app/job_service.h"
#include "server/app/mac_pool.h"
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
  /// Network cards without an address get one of this pool; that of the server's uid when unset.
  std::optional<MacPool> macs{};
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

/// What a start of a server changes before anything else runs.
struct Beginning {
  std::uint64_t epoch = 0;   ///< fencing number of this start
  std::string server_uid{};  ///< identity of this installation
};
/// Raises the epoch, marks every host disconnected. On the writer's connection, before it is handed
/// to the writer; blocks. Errors are the database's.
Result<Beginning> begin_server(db::Database& database, const Clock& clock, Random& random);

class ServerCore {
 public:
  /// Loads unfinished jobs (blocks on a read) and posts their continuation to the loop. Let agents
  /// in afterwards.
  static Result<std::unique_ptr<ServerCore>> create(const CoreParts& parts,
                                                    const Beginning& beginning);
  virtual ~ServerCore() = default;

  virtual VmService& vms() = 0;
  virtual HostService& hosts() = 0;
  virtual HypervisorService& hypervisors() = 0;
  virtual ImageService& images() = 0;
  virtual JobService& jobs() = 0;
  virtual AgentPool& agents() = 0;
  virtual EventFeed& events() = 0;
  virtual std::uint64_t epoch() const = 0;

  /// Pass the writer's OnCommit here. Any thread.
  virtual void on_commit(std::int64_t first_revision, std::int64_t last_revision) = 0;
  /// Ends watches with SERVER_STOPPING. Any thread. Destroy the core once its loops have stopped.
  virtual void stop() = 0;
};

}  // namespace reeve::server
