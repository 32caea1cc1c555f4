// server/jobs/plan.h - a request compiled into steps. Planning reads the inventory and changes
// nothing, so the same function serves validate_only (on a snapshot) and execution (in the writer's
// transaction).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "reeve/journal/v1/job_record.pb.h"
#include "reeve/v1/image_service.pb.h"
#include "reeve/v1/vm_service.pb.h"
#include "server/app/inventory.h"
#include "server/app/mac_pool.h"
#include "server/app/validate.h"

namespace reeve::server {

/// Every request that becomes a job.
using JobRequest = std::variant<v1::ImportImageRequest, v1::DeleteImageRequest, v1::CreateVmRequest,
                                v1::StartVmRequest, v1::StopVmRequest, v1::RebootVmRequest,
                                v1::PauseVmRequest, v1::ResumeVmRequest, v1::SaveVmRequest,
                                v1::RestoreVmRequest, v1::UpdateVmRequest, v1::DeleteVmRequest>;

/// Chance, drawn before planning, so that planning itself is a function of its inputs.
struct FreshIds {
  std::string job_uid{};
  std::string object_uid{};                           ///< of what the job makes
  std::string ticket{};                               ///< single use, for an upload
  MacPool macs{};                                     ///< the server's
  std::array<std::uint32_t, kMaxNics> mac_numbers{};  ///< where to look for free ones from

  static FreshIds draw(Random& random, const MacPool& macs);
};

/// A compiled job, not stored yet.
struct Plan {
  std::string kind{};  ///< "StartVm"
  journal::v1::PlanRecord record{};
  std::string target_kind{};  ///< "vm", "image"
  std::string target_uid{};
  std::string target_name{};  ///< display name
  std::string host_uid{};
  std::vector<std::string> locks{};  ///< all or none
};

/// Adds a step and gives it back to be filled: plan.step("start the machine", host).
journal::v1::PlannedStep& add_step(Plan& plan, std::string title, const std::string& host_uid);
void add_diff(Plan& plan, std::string field, std::string before, std::string after);

/// Compiles any request. The recipe's errors; see the .proto of the method.
Result<Plan> compile(Inventory& inventory, const FreshIds& ids, const JobRequest& request);

/// What every request says beside its content.
struct RequestFacts {
  std::string method{};    ///< "VmService/StartVm"
  std::string resource{};  ///< "vms/..."; empty when it makes one
  std::string request_id{};
  bool validate_only = false;
  std::string body{};     ///< serialized, deterministic
  std::string summary{};  ///< for the audit log: without secrets
};
RequestFacts facts_of(const JobRequest& request);

/// Fields that can be judged without the inventory: InvalidArgument/BAD_FIELD, BAD_MASK.
Status check_request(const JobRequest& request);

}  // namespace reeve::server
