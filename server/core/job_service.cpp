#include "server/app/job_service.h"

#include <array>

#include "db/repo/job_repo.h"
#include "server/app/errors.h"
#include "server/app/views.h"
#include "server/app/words.h"
#include "server/core/filter_names.h"
#include "server/core/list_page.h"

namespace reeve::server {

namespace {

constexpr auto kFilterKeys = std::to_array<FilterKey>({
    kUidKey,
    {"state", db::Column::State, FilterKey::Type::Word,
     "running rolling_back parked succeeded failed cancelled"},
    {.name = "active",
     .type = FilterKey::Type::Other,
     .read = [](const std::string& value, db::ReadTransaction&) -> Result<db::Restriction> {
       const bool active = TRY(filter_flag(value));
       return db::Restriction{.column = db::Column::FinishTime, .negated = !active};
     }},
    {"kind", db::Column::Kind},
    {.name = "target",
     .type = FilterKey::Type::Other,
     .read = [](const std::string& value, db::ReadTransaction& tx) -> Result<db::Restriction> {
       return db::Restriction{.column = db::Column::TargetUid,
                              .value = TRY(target_in_filter(tx, value))};
     }},
    {"actor", db::Column::Actor},
    kCreateTimeKey,
    {"end_time", db::Column::FinishTime, FilterKey::Type::Time},
});

class Jobs final : public JobService {
 public:
  explicit Jobs(const ServiceParts& parts) : parts_(parts) {}

  Result<v1::Job> get(const Caller&, const v1::GetJobRequest& request) override {
    const auto uid = TRY(uid_of(request.name(), "jobs", "name"));
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::Job> {
      const auto row = TRY(db::JobReader(tx).get(uid));
      auto job = TRY(to_proto(row));
      fill_progress(job);
      return job;
    });
  }

  Result<v1::ListJobsResponse> list(const Caller&, const v1::ListJobsRequest& request) override {
    const auto query = TRY(query_of(parts_, request,
                                    {.keys = kFilterKeys,
                                     .labels = Labels::No,
                                     .orders = {"create_time"},
                                     .usual_order = "create_time desc"}));
    v1::ListJobsResponse response;
    const auto add = [&](Inventory&, const db::Job& row) -> Result<bool> {
      auto job = TRY(to_proto(row));
      fill_progress(job);
      *response.add_jobs() = std::move(job);
      return true;
    };
    TRY(list_page<db::JobReader>(parts_, query, response, add));
    return response;
  }

  void wait(const Caller&, const v1::WaitJobRequest& request, Reply<v1::Job> reply) override {
    auto uid = uid_of(request.name(), "jobs", "name");
    if (!uid.ok()) return reply(std::move(uid).error());
    constexpr std::int64_t kLongest = 300;
    std::chrono::milliseconds timeout{30'000};
    if (request.has_timeout()) {
      if (request.timeout().seconds() < 0 || request.timeout().nanos() < 0)
        return reply(bad_field("timeout", "must not be negative"));
      timeout = std::chrono::milliseconds(std::min(kLongest, request.timeout().seconds()) * 1000 +
                                          request.timeout().nanos() / 1'000'000);
    }
    parts_.runner->wait(uid.value(), timeout, std::move(reply));
  }

  void cancel(const Caller& caller, const v1::CancelJobRequest& request,
              Reply<v1::Job> reply) override {
    auto uid = uid_of(request.name(), "jobs", "name");
    if (!uid.ok()) return reply(std::move(uid).error());
    parts_.runner->cancel(caller, uid.value(), std::move(reply));
  }

  void resolve(const Caller& caller, const v1::ResolveJobRequest& request,
               Reply<v1::Job> reply) override {
    auto uid = uid_of(request.name(), "jobs", "name");
    if (!uid.ok()) return reply(std::move(uid).error());
    if (request.choice().empty()) return reply(bad_field("choice", "is required"));
    parts_.runner->resolve(caller, uid.value(), request.choice(), std::move(reply));
  }

 private:
  void fill_progress(v1::Job& job) const {
    const auto state = job.state();
    if (state != v1::Job::STATE_RUNNING && state != v1::Job::STATE_ROLLING_BACK) return;
    if (auto progress = parts_.runner->progress().get(job.uid()))
      *job.mutable_progress() = std::move(*progress);
  }

  const ServiceParts parts_;
};

}  // namespace

std::unique_ptr<JobService> make_job_service(const ServiceParts& parts) {
  return std::make_unique<Jobs>(parts);
}

}  // namespace reeve::server
