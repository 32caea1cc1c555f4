// Bad input, method by method: every refusal has its code and its reason, and the server goes on.
#include <catch2/catch.hpp>
#include <google/protobuf/descriptor.h>

#include "reeve/v1/server_service.pb.h"
#include "tests/system/api/api_server.h"

namespace reeve::test {
namespace {

struct Row {
  const char* method;
  const char* request;
  int code;
  const char* reason;
};
constexpr int kInvalid = 3;
constexpr int kNotFound = 5;
constexpr int kFailedPrecondition = 9;

#define SOME "00000000-0000-4000-8000-000000000000"
const Row kRows[] = {
    // Names: missing, of another kind, malformed, unknown.
    {"VmService/GetVm", "{}", kInvalid, "BAD_FIELD"},
    {"VmService/GetVm", R"({"name":"hosts/)" SOME R"("})", kInvalid, "BAD_FIELD"},
    {"VmService/GetVm", R"({"name":"vms/../etc/passwd"})", kInvalid, "BAD_FIELD"},
    {"VmService/GetVm", R"({"name":"vms/)" SOME R"("})", kNotFound, "VM_NOT_FOUND"},
    {"HostService/GetHost", "{}", kInvalid, "BAD_FIELD"},
    {"HostService/GetHost", R"({"name":"hosts/)" SOME R"("})", kNotFound, "HOST_NOT_FOUND"},
    {"ImageService/GetImage", "{}", kInvalid, "BAD_FIELD"},
    {"ImageService/GetImage", R"({"name":"images/)" SOME R"("})", kNotFound, "IMAGE_NOT_FOUND"},
    {"JobService/GetJob", "{}", kInvalid, "BAD_FIELD"},
    {"JobService/GetJob", R"({"name":"jobs/)" SOME R"("})", kNotFound, "JOB_NOT_FOUND"},
    {"JobService/WaitJob", R"({"name":"jobs/)" SOME R"("})", kNotFound, "JOB_NOT_FOUND"},
    {"JobService/CancelJob", R"({"name":"jobs/)" SOME R"("})", kNotFound, "JOB_NOT_FOUND"},
    {"JobService/ResolveJob", R"({"name":"jobs/)" SOME R"(","choice":"retry"})", kNotFound,
     "JOB_NOT_FOUND"},
    {"VmService/StartVm", "{}", kInvalid, "BAD_FIELD"},
    {"VmService/StartVm", R"({"name":"vms/)" SOME R"("})", kNotFound, "VM_NOT_FOUND"},
    {"VmService/StopVm", R"({"name":"vms/)" SOME R"("})", kNotFound, "VM_NOT_FOUND"},
    {"VmService/RebootVm", R"({"name":"vms/)" SOME R"("})", kNotFound, "VM_NOT_FOUND"},
    {"VmService/PauseVm", R"({"name":"vms/)" SOME R"("})", kNotFound, "VM_NOT_FOUND"},
    {"VmService/ResumeVm", R"({"name":"vms/)" SOME R"("})", kNotFound, "VM_NOT_FOUND"},
    {"VmService/DeleteVm", R"({"name":"vms/)" SOME R"("})", kNotFound, "VM_NOT_FOUND"},
    {"ImageService/DeleteImage", R"({"name":"images/)" SOME R"("})", kNotFound, "IMAGE_NOT_FOUND"},
    {"HostService/DeleteHost", R"({"name":"hosts/)" SOME R"("})", kNotFound, "HOST_NOT_FOUND"},
    {"ServerService/DeleteApiToken", R"({"name":"tokens/)" SOME R"("})", kNotFound,
     "TOKEN_NOT_FOUND"},
    // Lists.
    {"VmService/ListVms", R"({"page_size":-1})", kInvalid, "BAD_FIELD"},
    {"VmService/ListVms", R"({"page_token":"garbage"})", kInvalid, "BAD_PAGE_TOKEN"},
    {"VmService/ListVms", R"({"filter":"no such = = term"})", kInvalid, "BAD_FILTER"},
    {"VmService/ListVms", R"({"filter":"state = NONSENSE"})", kInvalid, "BAD_FILTER"},
    {"HostService/ListHosts", R"({"filter":"x"})", kInvalid, "BAD_FILTER"},
    {"ImageService/ListImages", R"({"page_token":"AAAA"})", kInvalid, "BAD_PAGE_TOKEN"},
    {"JobService/ListJobs", R"({"page_size":-5})", kInvalid, "BAD_FIELD"},
    {"EventService/ListEvents", R"({"page_size":-5})", kInvalid, "BAD_FIELD"},
    {"EventService/ListEvents", R"({"kinds":["dragons"]})", kInvalid, "BAD_FIELD"},
    {"EventService/ListAuditEntries", R"({"page_token":"AAAA"})", kInvalid, "BAD_PAGE_TOKEN"},
    {"ServerService/ListApiTokens", R"({"page_size":-1})", kInvalid, "BAD_FIELD"},
    // Creation.
    {"VmService/CreateVm", "{}", kInvalid, "BAD_FIELD"},
    {"VmService/CreateVm", R"({"vm":{"display_name":"-x","spec":{"cpus":1,"memory_mib":64}}})",
     kInvalid, "BAD_FIELD"},
    {"VmService/CreateVm", R"({"vm":{"display_name":"a b","spec":{"cpus":1,"memory_mib":64}}})",
     kInvalid, "BAD_FIELD"},
    {"VmService/CreateVm", R"({"vm":{"display_name":"x","spec":{"cpus":0,"memory_mib":64}}})",
     kInvalid, "BAD_FIELD"},
    {"VmService/CreateVm", R"({"vm":{"display_name":"x","spec":{"cpus":1,"memory_mib":1}}})",
     kInvalid, "BAD_FIELD"},
    {"VmService/CreateVm", R"({"vm":{"display_name":"x","spec":{"cpus":100000,"memory_mib":64}}})",
     kInvalid, "BAD_FIELD"},
    {"ImageService/ImportImage", "{}", kInvalid, "BAD_FIELD"},
    {"HostService/CreateEnrollToken", R"({"lifetime":"999999s"})", kInvalid, "BAD_FIELD"},
    {"HostService/CreateEnrollToken", R"({"lifetime":"-1s"})", kInvalid, "BAD_FIELD"},
    {"ServerService/CreateApiToken", "{}", kInvalid, "BAD_FIELD"},
    {"ServerService/CreateApiToken", R"({"token":{"display_name":"x","role":"ROLE_UNSPECIFIED"}})",
     kInvalid, "BAD_FIELD"},
    // Updates.
    {"VmService/UpdateVm", "{}", kInvalid, "BAD_MASK"},
    {"VmService/UpdateVm", R"({"vm":{"name":"vms/)" SOME R"("},"update_mask":"spec.limits"})",
     kInvalid, "BAD_MASK"},
    {"VmService/UpdateVm",
     R"({"vm":{"name":"vms/)" SOME
     R"(","spec":{"limits":{"cpu_weight":-1}}},"update_mask":"spec.limits.cpuWeight"})",
     kInvalid, "BAD_FIELD"},
    {"VmService/UpdateVm",
     R"({"vm":{"name":"vms/)" SOME
     R"(","spec":{"limits":{"cpu_limit_percent":25701}}},"update_mask":"spec.limits.cpuLimitPercent"})",
     kInvalid, "BAD_FIELD"},
    {"HostService/UpdateHost", "{}", kInvalid, "BAD_MASK"},
    {"ImageService/UpdateImage", "{}", kInvalid, "BAD_MASK"},
    // Streams, with one message and no more.
    {"VmService/AttachConsole", "{}", kInvalid, "BAD_FIELD"},
    {"VmService/AttachConsole", R"({"input":"QUFB"})", kInvalid, "BAD_FIELD"},
    {"VmService/AttachConsole", R"({"open":{"name":"vms/)" SOME R"("}})", kNotFound,
     "VM_NOT_FOUND"},
    {"ImageService/UploadImage", "{}", kInvalid, "BAD_FIELD"},
    {"ImageService/UploadImage", R"({"data":"QUFB"})", kInvalid, "BAD_FIELD"},
    {"ImageService/UploadImage", R"({"job":"jobs/)" SOME R"("})", kNotFound, "JOB_NOT_FOUND"},
    // Enrolment.
    {"EnrollmentService/Enroll", "{}", kInvalid, "BAD_FIELD"},
    {"EnrollmentService/Enroll", R"({"hostname":"x","csr_pem":"x"})", kInvalid, "BAD_CSR"},
    {"EnrollmentService/Renew", "{}", kInvalid, "BAD_CSR"},
};

TEST_CASE("bad requests are refused with the right code and reason", "[api]") {
  const ApiServer server;
  for (const auto& row : kRows) {
    const auto answer = server.call_json(row.method, row.request);
    CAPTURE(row.method, row.request, answer.message);
    CHECK(answer.code == row.code);
    CHECK(answer.detail.reason() == row.reason);
  }
}

TEST_CASE("bytes that are no message, too many bytes and odd text harm nobody", "[api]") {
  ApiServer server;
  const std::string odd_text = std::string("\x0a\x06vms/\xff\xfe", 8);  // field 1, not UTF-8
  std::string nested;
  for (int i = 0; i < 2000; ++i) nested += "\x0b";  // groups in groups
  for (const auto* method : methods()) {
    CAPTURE(method->full_name());
    for (const auto& bytes : {std::string(100, '\xff'), nested})
      CHECK(server.call(*method, bytes, server.admin_token(), std::chrono::seconds(2)).code != 0);
    // Where field 1 is no text this is an unknown field, and those are ignored.
    server.call(*method, odd_text, server.admin_token(), std::chrono::milliseconds(500));
  }
  const auto* get_vm = methods().front();
  CHECK(server.call(*get_vm, std::string(5u << 20, 'a'), server.admin_token()).code == 8);
  CHECK(server.is_running());
  CHECK(server.call_json("ServerService/GetServerInfo", "{}").code == 0);
}

TEST_CASE("names and filters of every odd kind are refused or found missing, never more", "[api]") {
  ApiServer server;
  for (const auto* odd : {"%2e%2e%2f", "vms/..", "vms/%00", "vms/' OR 1=1 --", "vms/\\\"", "VMS/x",
                          "vms//", "vms/*", "\\u0000", "\\u202e", "vms/\\ud83d\\ude00"}) {
    CAPTURE(odd);
    const auto answer =
        server.call_json("VmService/GetVm", std::string(R"({"name":")") + odd + "\"}");
    CHECK((answer.code == kInvalid || answer.code == kNotFound));
    const auto listed =
        server.call_json("VmService/ListVms", std::string(R"({"filter":"display_name = \")") + "x" +
                                                  R"(\"","order_by":")" + odd + "\"}");
    CHECK(listed.code == kInvalid);
  }
  CHECK(server.is_running());
}

}  // namespace
}  // namespace reeve::test
