#include "server/jobs/plan.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "base/uuid.h"
#include "proto/features.h"
#include "server/app/validate.h"
#include "server/app/words.h"
#include "server/jobs/recipes/recipes.h"

namespace reeve::server {

namespace {

/// The same message always gives the same bytes: map entries sorted.
std::string stable_bytes(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

template <class Request>
RequestFacts base_facts(const char* method, const Request& request) {
  Request content = request;
  content.clear_request_id();
  return {.method = method,
          .request_id = request.request_id(),
          .validate_only = request.validate_only(),
          .body = stable_bytes(content)};
}

template <class Request>
RequestFacts verb_facts(const char* method, const Request& request) {
  auto facts = base_facts(method, request);
  facts.resource = request.name();
  return facts;
}

struct Facts {
  RequestFacts operator()(const v1::ImportImageRequest& r) const {
    auto facts = base_facts("ImageService/ImportImage", r);
    facts.summary = "image " + r.image().display_name() +
                    (r.has_host_path() ? " from " + r.host_path() : " from an upload");
    return facts;
  }
  RequestFacts operator()(const v1::DeleteImageRequest& r) const {
    return verb_facts("ImageService/DeleteImage", r);
  }
  RequestFacts operator()(const v1::CreateVmRequest& r) const {
    auto facts = base_facts("VmService/CreateVm", r);
    facts.summary = "machine " + r.vm().display_name() + ", " +
                    std::to_string(r.vm().spec().cpus()) + " cpus, " +
                    std::to_string(r.vm().spec().memory_mib()) + " MiB" +
                    (r.start() ? ", started" : "");
    return facts;
  }
  RequestFacts operator()(const v1::StartVmRequest& r) const {
    return verb_facts("VmService/StartVm", r);
  }
  RequestFacts operator()(const v1::StopVmRequest& r) const {
    return verb_facts("VmService/StopVm", r);
  }
  RequestFacts operator()(const v1::RebootVmRequest& r) const {
    return verb_facts("VmService/RebootVm", r);
  }
  RequestFacts operator()(const v1::PauseVmRequest& r) const {
    return verb_facts("VmService/PauseVm", r);
  }
  RequestFacts operator()(const v1::ResumeVmRequest& r) const {
    return verb_facts("VmService/ResumeVm", r);
  }
  RequestFacts operator()(const v1::SaveVmRequest& r) const {
    return verb_facts("VmService/SaveVm", r);
  }
  RequestFacts operator()(const v1::RestoreVmRequest& r) const {
    return verb_facts("VmService/RestoreVm", r);
  }
  RequestFacts operator()(const v1::UpdateVmRequest& r) const {
    auto facts = base_facts("VmService/UpdateVm", r);
    facts.resource = r.vm().name();
    for (const auto& path : r.update_mask().paths())
      facts.summary += (facts.summary.empty() ? "" : ", ") + path.substr(0, 64);
    return facts;
  }
  RequestFacts operator()(const v1::DeleteVmRequest& r) const {
    auto facts = verb_facts("VmService/DeleteVm", r);
    if (r.force()) facts.summary = "force";
    return facts;
  }
};

template <class Request>
Status check_verb(const Request& request, std::string_view collection) {
  FieldCheck check;
  check.require(uid_of(request.name(), collection, "name").ok(), "name",
                "must be " + std::string(collection) + "/{uid}");
  check_request_id(check, request.request_id());
  if constexpr (requires { request.grace(); }) check_grace(check, "grace", request.grace());
  return check.outcome();
}

struct Check {
  Status operator()(const v1::ImportImageRequest& r) const { return check_import(r); }
  Status operator()(const v1::CreateVmRequest& r) const {
    return check_new_vm(r.vm(), r.request_id());
  }
  Status operator()(const v1::DeleteImageRequest& r) const { return check_verb(r, "images"); }
  Status operator()(const v1::UpdateVmRequest& r) const {
    TRY(check_mask(r.update_mask(),
                   {"display_name", "labels", "description", "spec.cpus", "spec.memory_mib",
                    "spec.limits.cpu_weight", "spec.limits.cpu_limit_percent",
                    "spec.limits.memory_limit_mib"}));
    FieldCheck check;
    check.require(uid_of(r.vm().name(), "vms", "vm.name").ok(), "vm.name", "must be vms/{uid}");
    check_request_id(check, r.request_id());
    if (has_path(r.update_mask(), "display_name"))
      check_display_name(check, "vm.display_name", r.vm().display_name());
    if (has_path(r.update_mask(), "description"))
      check_description(check, "vm.description", r.vm().description());
    if (has_path(r.update_mask(), "labels")) check_labels(check, "vm.labels", r.vm().labels());
    if (has_path(r.update_mask(), "spec.cpus")) check_cpus(check, r.vm().spec().cpus());
    if (has_path(r.update_mask(), "spec.memory_mib"))
      check_memory(check, r.vm().spec().memory_mib());
    if (has_path(r.update_mask(), "spec.limits.cpu_weight"))
      check_cpu_weight(check, r.vm().spec().limits().cpu_weight());
    if (has_path(r.update_mask(), "spec.limits.cpu_limit_percent"))
      check_cpu_limit(check, r.vm().spec().limits().cpu_limit_percent());
    return check.outcome();
  }
  template <class Request>
  Status operator()(const Request& r) const {
    return check_verb(r, "vms");
  }
};

struct Compile {
  Inventory& inventory;
  const FreshIds& ids;

  auto operator()(const v1::ImportImageRequest& r) const {
    return recipes::import_image(inventory, ids, r);
  }
  auto operator()(const v1::DeleteImageRequest& r) const {
    return recipes::delete_image(inventory, ids, r);
  }
  auto operator()(const v1::CreateVmRequest& r) const {
    return recipes::create_vm(inventory, ids, r);
  }
  auto operator()(const v1::StartVmRequest& r) const {
    return recipes::start_vm(inventory, ids, r);
  }
  auto operator()(const v1::StopVmRequest& r) const { return recipes::stop_vm(inventory, ids, r); }
  auto operator()(const v1::RebootVmRequest& r) const {
    return recipes::reboot_vm(inventory, ids, r);
  }
  auto operator()(const v1::PauseVmRequest& r) const {
    return recipes::pause_vm(inventory, ids, r);
  }
  auto operator()(const v1::ResumeVmRequest& r) const {
    return recipes::resume_vm(inventory, ids, r);
  }
  auto operator()(const v1::SaveVmRequest& r) const { return recipes::save_vm(inventory, ids, r); }
  auto operator()(const v1::RestoreVmRequest& r) const {
    return recipes::restore_vm(inventory, ids, r);
  }
  auto operator()(const v1::UpdateVmRequest& r) const {
    return recipes::update_vm(inventory, ids, r);
  }
  auto operator()(const v1::DeleteVmRequest& r) const {
    return recipes::delete_vm(inventory, ids, r);
  }
};

}  // namespace

FreshIds FreshIds::draw(Random& random, const MacPool& macs) {
  FreshIds ids{.job_uid = new_uuid(random),
               .object_uid = new_uuid(random),
               .ticket = new_uuid(random),
               .macs = macs};
  random.fill(std::as_writable_bytes(std::span(ids.mac_numbers)));
  return ids;
}

journal::v1::PlannedStep& add_step(Plan& plan, std::string title, const std::string& host_uid) {
  auto& step = *plan.record.add_steps();
  step.set_title(std::move(title));
  step.set_host(host_uid);
  return step;
}

void add_diff(Plan& plan, std::string field, std::string before, std::string after) {
  auto& diff = *plan.record.mutable_view()->add_diff();
  diff.set_field(std::move(field));
  diff.set_before(std::move(before));
  diff.set_after(std::move(after));
}

Result<Plan> compile(Inventory& inventory, const FreshIds& ids, const JobRequest& request) {
  auto plan = TRY(std::visit(Compile{inventory, ids}, request));
  for (auto& step : *plan.record.mutable_steps()) {
    if (step.host().empty()) continue;
    const auto host = TRY(inventory.host(step.host()));
    step.set_host_display_name(host->row.name);
    TRY(host->require_feature(needed_feature(step.action())));
    TRY(host->require_feature(needed_feature(step.undo())));
  }
  return plan;
}

RequestFacts facts_of(const JobRequest& request) {
  return std::visit(Facts{}, request);
}

Status check_request(const JobRequest& request) {
  return std::visit(Check{}, request);
}

}  // namespace reeve::server
