// server/core/core_parts.h - what the services of the core share.
#pragma once

#include "server/agents/live_facts.h"
#include "server/agents/pool.h"
#include "server/core/server_core.h"
#include "server/jobs/runner.h"

namespace reeve::server {

/// All of it outlives the services.
struct ServiceParts {
  CoreParts core{};
  LiveFacts* live = nullptr;
  Pool* pool = nullptr;
  Runner* runner = nullptr;

  WallTime now() const { return core.loop->clock().wall(); }
};

/// Runs a change in the writer's transaction and replies with what it returned; its audit row is
/// part of it.
template <class T>
void write_and_reply(const ServiceParts& parts, const Caller& caller, RequestFacts facts,
                     std::function<Result<T>(db::Transaction&)> change, Reply<T> reply) {
  auto answer = std::make_shared<std::optional<T>>();
  parts.core.writer->submit(
      [change = std::move(change), answer, caller, facts = std::move(facts), time = parts.now(),
       hash = parts.core.sha256](db::Transaction& tx) -> Status {
        *answer = TRY(change(tx));
        if (caller.audited_by_front_door) return {};
        TRY(db::AuditRepo(tx).append(audit_of(caller, facts, "", time), hash));
        return {};
      },
      [answer, reply = std::move(reply)](const Status& outcome, std::int64_t) {
        if (!outcome.ok()) return reply(outcome.error());
        reply(std::move(**answer));
      });
}

std::unique_ptr<VmService> make_vm_service(const ServiceParts& parts);
std::unique_ptr<HostService> make_host_service(const ServiceParts& parts);
std::unique_ptr<HypervisorService> make_hypervisor_service(const ServiceParts& parts);
std::unique_ptr<ImageService> make_image_service(const ServiceParts& parts);
std::unique_ptr<JobService> make_job_service(const ServiceParts& parts);

}  // namespace reeve::server
