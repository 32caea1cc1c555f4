#include "server/app/job_service.h"

#include "db/repo/feed_repo.h"
#include "db/repo/job_repo.h"
#include "server/app/errors.h"
#include "server/app/views.h"
#include "server/app/words.h"
#include "server/core/core_parts.h"
#include "server/core/list_page.h"

namespace reeve::server {

namespace {

Result<db::JobFilter> filter_of(const std::string& text) {
  db::JobFilter filter;
  for (auto& term : TRY(parse_filter(text))) {
    if (term.key == "state") {
      filter.state = TRY(filter_word(
          term.value, {"running", "rolling_back", "parked", "succeeded", "failed", "cancelled"}));
    } else if (term.key == "active") {
      const auto word = TRY(filter_word(term.value, {"true", "false"}));
      filter.activity =
          word == "true" ? db::JobFilter::Activity::Active : db::JobFilter::Activity::Finished;
    } else if (term.key == "kind") {
      filter.kind = term.value;
    } else if (term.key == "target") {
      const auto slash = term.value.find('/');
      const std::string collection = term.value.substr(0, slash);
      if (collection != "vms" && collection != "images")
        return bad_filter("has a target that is neither vms/{uid} nor images/{uid}");
      filter.target_uid = TRY(uid_of(term.value, collection, "filter"));
    } else {
      return bad_filter("has an unknown key '" + term.key.substr(0, 64) +
                        "'; known are state, active, kind, target");
    }
  }
  return filter;
}

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
    const auto filter = TRY(filter_of(request.filter()));
    const std::string order_by =
        request.order_by().empty() ? "create_time desc" : request.order_by();
    const auto order = TRY(parse_order(order_by, {"create_time"}));
    const auto page = TRY(PageRequest::of(request, order.descending));
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::ListJobsResponse> {
      v1::ListJobsResponse response;
      db::JobReader reader(tx);
      response.set_revision(TRY(db::FeedReader(tx).revision()));
      auto token = collect_page(
          page, [&](const db::Page& part) { return reader.list(filter, part); },
          [&](const db::Job& row) { return db::JobReader::key_of(row); },
          [&](const db::Job& row) -> Result<bool> {
            auto job = TRY(to_proto(row));
            fill_progress(job);
            *response.add_jobs() = std::move(job);
            return true;
          });
      if (!token.ok()) return std::move(token).error();
      response.set_next_page_token(std::move(token).value());
      return response;
    });
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
