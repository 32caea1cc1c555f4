#include "server/api/request_summary.h"

#include <catch2/catch.hpp>

#include "reeve/agent/v1/enrollment_service.pb.h"
#include "reeve/v1/host_service.pb.h"
#include "reeve/v1/image_service.pb.h"
#include "reeve/v1/server_service.pb.h"
#include "reeve/v1/vm_service.pb.h"

namespace reeve::server {
namespace {

TEST_CASE("a request's resource is its name, its job, or the name inside", "[api]") {
  v1::StartVmRequest start;
  start.set_name("vms/1");
  CHECK(resource_of(start) == "vms/1");
  v1::UploadImageRequest upload;
  upload.set_job("jobs/1");
  CHECK(resource_of(upload) == "jobs/1");
  v1::CreateVmRequest create;
  create.mutable_vm()->set_display_name("web");
  CHECK(resource_of(create) == "web");
  create.mutable_vm()->set_name("vms/2");
  CHECK(resource_of(create) == "vms/2");
  CHECK(resource_of(v1::ListVmsRequest()).empty());
}

TEST_CASE("summaries hold what was asked and no secret", "[api]") {
  v1::CreateVmRequest create;
  create.mutable_vm()->set_display_name("web");
  auto& seed = *create.mutable_vm()->mutable_spec()->mutable_cloud_init();
  seed.set_user_data("CANARY");
  seed.set_meta_data("CANARY");
  seed.set_network_config("CANARY");
  CHECK(summary_of(create).find("\"display_name\":\"web\"") != std::string::npos);
  CHECK(summary_of(create).find("CANARY") == std::string::npos);

  agent::v1::EnrollRequest enroll;
  enroll.set_token("CANARY");
  CHECK(summary_of(enroll).find("CANARY") == std::string::npos);
  v1::CreateApiTokenRequest token;
  token.mutable_token()->set_secret("CANARY");
  CHECK(summary_of(token).find("CANARY") == std::string::npos);
}

TEST_CASE("long summaries are cut", "[api]") {
  v1::CreateVmRequest create;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "ü";
  create.mutable_vm()->set_description(text);
  CHECK(summary_of(create).size() <= 2048 + 3);
  CHECK(summary_of(create).ends_with("..."));
}

void check_marked(const google::protobuf::Descriptor* message) {
  for (int i = 0; i < message->field_count(); ++i) {
    const auto* field = message->field(i);
    const auto& name = field->name();
    const bool secret = name == "token" || name.find("secret") != std::string::npos ||
                        name.find("password") != std::string::npos || name == "user_data";
    if (field->type() != google::protobuf::FieldDescriptor::TYPE_STRING || !secret) continue;
    CAPTURE(field->full_name());
    CHECK(field->options().GetExtension(v1::sensitive));
  }
}

TEST_CASE("text fields that sound like secrets are marked sensitive", "[api]") {
  for (const auto* file :
       {v1::GetVmRequest::descriptor()->file(), v1::VirtualMachine::descriptor()->file(),
        v1::GetSelfRequest::descriptor()->file(), v1::GetHostRequest::descriptor()->file(),
        agent::v1::EnrollRequest::descriptor()->file()})
    for (int i = 0; i < file->message_type_count(); ++i) check_marked(file->message_type(i));
}

}  // namespace
}  // namespace reeve::server
