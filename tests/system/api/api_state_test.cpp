// Changes that come too late or at the wrong time: a stale etag for every method that takes one,
// the wrong state for every method that changes something.
#include <algorithm>
#include <array>

#include <catch2/catch.hpp>
#include <google/protobuf/descriptor.h>

#include "base/text.h"
#include "reeve/v1/authorization.pb.h"
#include "reeve/v1/job.pb.h"
#include "tests/system/api/api_matrix.h"
#include "tests/system/api/fake_agent.h"

namespace reeve::test {
namespace {

constexpr const char* kForeign = "11111111-1111-4111-8111-111111111111";
constexpr int kAlreadyExists = 6;
constexpr int kFailedPrecondition = 9;
constexpr int kAborted = 10;

/// Says that a step is done; one of the machine "creating" never is.
void do_step(const agent::v1::RunStep& step, FakeAgent& agent) {
  if (step.action().prepare_guest().spec().display_name() == "creating") return;
  agent::v1::ConnectRequest message;
  auto& result = *message.mutable_step_result();
  result.set_key(step.key());
  if (step.action().has_import_image())
    for (const auto* fact : {"size_bytes", "virtual_size_bytes"})
      (*result.mutable_facts())[fact] = "1048576";
  agent.send(message);
}

/// A host with a machine in each state that matters, an image that is used, and a job that ended.
struct Inventory {
  ApiServer server;
  FakeAgent agent{server};
  std::string host, image, stopped, running, foreign, creating, job;

  Inventory() {
    agent.features = {"saved-state"};
    agent.on_step = do_step;
    REQUIRE(agent.connect(agent.host_uid()).has_welcome());
    agent.observe_guest(kForeign);
    foreign = std::string("vms/") + kForeign;
    eventually("the guest is in the inventory", [&] {
      return server.call_json("VmService/GetVm", R"({"name":")" + foreign + "\"}").code == 0;
    });
    host = "hosts/" + agent.host_uid();
    for (const auto* name : {"other", "disk"})
      image = finish(server.call_json(
          "ImageService/ImportImage",
          std::string(R"({"image":{"display_name":")") + name +
              R"(","kind":"KIND_DISK","format":"DISK_FORMAT_RAW"},"host_path":"/srv/x"})"));
    stopped = finish(create("stopped", false));
    running = finish(create("running", true));
    const auto begun = create("creating", false);
    REQUIRE(begun.code == 0);
    v1::Job unfinished;
    REQUIRE(unfinished.ParseFromString(begun.response));
    creating = unfinished.target();
  }

  Answer create(const std::string& name, bool start) const {
    return server.call_json("VmService/CreateVm",
                            R"({"vm":{"display_name":")" + name +
                                R"(","spec":{"cpus":1,"memory_mib":64,"disks":[{"image":")" +
                                image + R"("}]}},"start":)" + (start ? "true}" : "false}"));
  }
  /// Waits for the job; what it made.
  std::string finish(const Answer& answer) {
    INFO(answer.message);
    REQUIRE(answer.code == 0);
    v1::Job begun, ended;
    REQUIRE(begun.ParseFromString(answer.response));
    const auto waited =
        server.call_json("JobService/WaitJob", R"({"name":")" + begun.name() + "\"}");
    REQUIRE(ended.ParseFromString(waited.response));
    INFO(ended.error().message());
    REQUIRE(ended.state() == v1::Job::STATE_SUCCEEDED);
    job = ended.name();
    return ended.target();
  }
};

bool takes_etag(const google::protobuf::MethodDescriptor& method) {
  const auto& request = *method.input_type();
  if (request.FindFieldByName("etag") != nullptr) return true;
  for (int i = 0; i < request.field_count(); ++i) {
    const auto* inner = request.field(i)->message_type();
    if (inner != nullptr && inner->FindFieldByName("etag") != nullptr &&
        request.FindFieldByName("update_mask") != nullptr)
      return true;
  }
  return false;
}

TEST_CASE("a stale etag is refused, in every method that takes one", "[api][link]") {
  const Inventory estate;
  int checked = 0;
  for (const auto* method : methods()) {
    if (!takes_etag(*method)) continue;
    std::string json = good_request(*method).json;
    for (const auto& real : {estate.host, estate.image, estate.stopped}) {
      const auto absent = real.substr(0, real.find('/') + 1) + kAbsent;
      if (const auto at = json.find(absent); at != std::string::npos)
        json.replace(at, absent.size(), real);
    }
    const auto request = parse_request(*method, json);
    // In the message that has the name.
    const auto fields = fields_of(*request);
    const auto named =
        std::ranges::find(fields, "name", [](const auto& place) { return place.field->name(); });
    REQUIRE(named != fields.end());
    auto& holder = *named->message;
    holder.GetReflection()->SetString(&holder, holder.GetDescriptor()->FindFieldByName("etag"),
                                      "stale");
    const auto answer =
        estate.server.call(*method, request->SerializeAsString(), estate.server.admin_token());
    CAPTURE(full_name(*method), answer.message);
    CHECK(answer.code == kAborted);
    CHECK(answer.detail.reason() == "STALE_ETAG");
    CHECK_FALSE(answer.detail.remedy().empty());
    ++checked;
  }
  CHECK(checked >= 13);
}

/// Methods that change something and have no wrong state, each with why.
constexpr std::array kAnyState{
    "HostService/UpdateHost",        // names and labels can be changed whatever a host does
    "ServerService/DeleteApiToken",  // what is revoked is gone: not found
    "EnrollmentService/Enroll",      // a token that was used: enrollment_test.cpp
    "EnrollmentService/Renew",       // a host that was removed: enrollment_test.cpp
};

TEST_CASE("the wrong state is refused by name, in every method that changes something",
          "[api][link]") {
  const Inventory estate;
  struct Row {
    std::string method;
    std::string request;
    int code;
    std::string reason;
  };
  const auto name = [](const std::string& of) { return R"("name":")" + of + "\""; };
  const auto only = [&](const std::string& of) { return "{" + name(of) + "}"; };
  const std::vector<Row> rows{
      {"VmService/CreateVm",
       R"({"vm":{"display_name":"stopped","spec":{"cpus":1,"memory_mib":64,"disks":[{"image":")" +
           estate.image + R"("}]}}})",
       kAlreadyExists, "NAME_TAKEN"},
      {"VmService/UpdateVm", R"({"update_mask":"description","vm":{)" + name(estate.foreign) + "}}",
       kFailedPrecondition, "VM_NOT_MANAGED"},
      {"VmService/UpdateVm",
       R"({"update_mask":"description","vm":{)" + name(estate.creating) + "}}", kAborted,
       "RESOURCE_BUSY"},
      {"VmService/UpdateVm",
       R"({"update_mask":"displayName","vm":{"display_name":"running",)" + name(estate.stopped) +
           "}}",
       kAlreadyExists, "NAME_TAKEN"},
      {"VmService/DeleteVm", only(estate.running), kFailedPrecondition, "VM_NOT_STOPPED"},
      {"VmService/DeleteVm", only(estate.foreign), kFailedPrecondition, "VM_NOT_MANAGED"},
      {"VmService/StartVm", only(estate.running), kFailedPrecondition, "VM_NOT_STOPPED"},
      {"VmService/StopVm", only(estate.stopped), kFailedPrecondition, "VM_NOT_RUNNING"},
      {"VmService/RebootVm", only(estate.stopped), kFailedPrecondition, "VM_NOT_RUNNING"},
      {"VmService/PauseVm", only(estate.stopped), kFailedPrecondition, "VM_NOT_RUNNING"},
      {"VmService/ResumeVm", only(estate.running), kFailedPrecondition, "VM_NOT_PAUSED"},
      {"VmService/SaveVm", only(estate.stopped), kFailedPrecondition, "VM_NOT_RUNNING"},
      {"VmService/SaveVm", only(estate.running), kFailedPrecondition, "NOT_SUPPORTED"},
      {"VmService/RestoreVm", only(estate.stopped), kFailedPrecondition, "VM_NOT_SAVED"},
      {"VmService/AttachConsole", R"({"open":)" + only(estate.creating) + "}", kFailedPrecondition,
       "VM_NOT_DEFINED"},
      {"HostService/DeleteHost", only(estate.host), kFailedPrecondition, "HOST_NOT_EMPTY"},
      {"HostService/CreateEnrollToken", R"({"host_display_name":"fake"})", kAlreadyExists,
       "NAME_TAKEN"},
      {"ImageService/ImportImage",
       R"({"image":{"display_name":"disk","kind":"KIND_KERNEL"},"host_path":"/srv/x"})",
       kAlreadyExists, "NAME_TAKEN"},
      {"ImageService/UpdateImage",
       R"({"update_mask":"displayName","image":{"display_name":"other",)" + name(estate.image) +
           "}}",
       kAlreadyExists, "NAME_TAKEN"},
      {"ImageService/DeleteImage", only(estate.image), kFailedPrecondition, "IMAGE_IN_USE"},
      {"ImageService/UploadImage", R"({"job":")" + estate.job + "\"}", kFailedPrecondition,
       "NO_UPLOAD_EXPECTED"},
      {"JobService/CancelJob", only(estate.job), kFailedPrecondition, "JOB_ENDED"},
      {"JobService/ResolveJob", R"({"choice":"retry",)" + name(estate.job) + "}",
       kFailedPrecondition, "JOB_NOT_PARKED"},
      {"ServerService/CreateApiToken", R"({"token":{"display_name":"admin","role":"ROLE_VIEWER"}})",
       kAlreadyExists, "NAME_TAKEN"},
  };
  for (const auto& row : rows) {
    const auto answer = estate.server.call_json(row.method, row.request);
    CAPTURE(row.method, row.request, answer.message);
    CHECK(answer.code == row.code);
    CHECK(answer.detail.reason() == row.reason);
  }
  for (const auto* method : methods()) {
    if (!method->options().GetExtension(v1::authorization).mutates()) continue;
    const bool has_row = std::ranges::count(rows, full_name(*method), &Row::method) > 0;
    const bool is_exempt = std::ranges::count(kAnyState, full_name(*method)) > 0;
    CAPTURE(full_name(*method));
    CHECK(has_row != is_exempt);  // a row, or a reason for none
  }
}

}  // namespace
}  // namespace reeve::test
