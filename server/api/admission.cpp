#include "server/api/admission.h"

#include "base/log.h"

namespace reeve::server {

Status check_size(const google::protobuf::Message& message) {
  const auto size = message.ByteSizeLong();
  if (size <= kMaxMessageBytes) return {};
  return Error{Code::ResourceExhausted, "MESSAGE_TOO_LARGE",
               "the request has " + std::to_string(size) + " bytes, the limit is " +
                   std::to_string(kMaxMessageBytes)}
      .with("size_bytes", std::to_string(size))
      .with("limit_bytes", std::to_string(kMaxMessageBytes))
      .remedy("send less: cloud-init data has at most 1 MiB, an image goes with UploadImage");
}

Admission::Admission(const Parts& parts, Caller caller, std::string call_id)
    : parts_(parts),
      caller_(std::move(caller)),
      call_id_(std::move(call_id)),
      begin_(parts.clock->monotonic()) {}

Admission::~Admission() {
  if (counted_) parts_.limiter->leave(caller_.actor, caller_.peer);
}

Status Admission::count_in() {
  TRY(parts_.limiter->enter(caller_.actor, caller_.peer));
  counted_ = true;
  return {};
}

void Admission::log_line(const Outcome& outcome) const {
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(parts_.clock->monotonic() - begin_);
  const auto& policy = *parts_.policy;
  if (outcome.status.ok()) {
    const auto write = policy.mutates ? log::info : static_cast<decltype(&log::info)>(log::debug);
    write("call ended", {{"call", call_id_},
                         {"method", policy.method},
                         {"actor", caller_.actor},
                         {"peer", caller_.peer},
                         {"resource", outcome.resource},
                         {"job", outcome.job_uid},
                         {"us", took.count()}});
    return;
  }
  const auto& error = outcome.status.error();
  const log::Fields fields{{"call", call_id_},
                           {"method", policy.method},
                           {"actor", caller_.actor},
                           {"peer", caller_.peer},
                           {"resource", outcome.resource},
                           {"code", static_cast<int>(error.code())},
                           {"reason", error.reason()},
                           {"error", error.message()},
                           {"us", took.count()}};
  if (error.code() == Code::Internal || error.code() == Code::DataLoss)
    log::error("call failed", fields);
  else if (caller_.actor == kAnonymous)
    log::guest_warning("call refused", fields);
  else
    log::info("call failed", fields);
}

void Admission::record(const Outcome& outcome, std::string summary, std::function<void()> done) {
  log_line(outcome);
  const bool has_row = outcome.status.ok() && !caller_.audited_by_front_door;
  if (!parts_.policy->mutates || has_row) return done();
  db::AuditEntry entry;
  entry.actor = caller_.actor;
  entry.peer = caller_.peer;
  entry.method = parts_.policy->method;
  entry.resource = outcome.resource;
  entry.request_id = call_id_;
  entry.job_uid = outcome.job_uid;
  entry.summary = std::move(summary);
  if (!outcome.status.ok()) {
    entry.code = static_cast<int>(outcome.status.error().code());
    entry.reason = outcome.status.error().reason();
  }
  parts_.audit->append(std::move(entry), std::move(done));
}

}  // namespace reeve::server
