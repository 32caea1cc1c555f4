// Bad input, method by method: every refusal has its code and its reason, and the server goes on.
#include <set>

#include <catch2/catch.hpp>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include "reeve/v1/authorization.pb.h"
#include "tests/system/api/api_matrix.h"

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
constexpr std::size_t kMaxMessage = 4u << 20;
constexpr int kResourceExhausted = 8;
constexpr int kUnauthenticated = 16;

#define SOME "00000000-0000-4000-8000-000000000000"
// What no single field shows: combinations, and requests that are empty beside a name.
const Row kRows[] = {
    {"VmService/ListVms", R"({"filter":"state = NONSENSE"})", kInvalid, "BAD_FILTER"},
    {"HypervisorService/ListHypervisors", R"({"filter":"label.a = b"})", kInvalid, "BAD_FILTER"},
    {"VmService/ListVms", R"({"filter":"state = RUNNING OR (label.a:* AND uid = x)  "})", kInvalid,
     "BAD_FILTER"},
    {"JobService/ListJobs", R"({"filter":"NOT NOT active = true"})", kInvalid, "BAD_FILTER"},
    {"EventService/ListEvents", R"({"filter":"time > yesterday"})", kInvalid, "BAD_FILTER"},
    {"EventService/ListEvents", R"({"order_by":"time"})", kInvalid, "BAD_FILTER"},
    {"EventService/ListAuditEntries", R"({"filter":"code = NONSENSE"})", kInvalid, "BAD_FILTER"},
    {"VmService/CreateVm",
     R"({"vm":{"display_name":"x","spec":{"cpus":1,"memory_mib":64}}})",  // nothing to boot from
     kInvalid, "BAD_FIELD"},
    {"ImageService/ImportImage",
     R"({"image":{"display_name":"i","kind":"KIND_KERNEL","format":"DISK_FORMAT_QCOW2"},"host_path":"/x"})",
     kInvalid, "BAD_FIELD"},
    {"VmService/UpdateVm", R"({"vm":{"name":"vms/)" SOME R"("},"update_mask":"spec.limits"})",
     kInvalid, "BAD_MASK"},
    {"HostService/UpdateHost", R"({"host":{"name":"hosts/)" SOME R"("},"update_mask":"state"})",
     kInvalid, "BAD_MASK"},
};

/// Pads a request with a field that nobody knows.
std::string padded(const google::protobuf::Message& request, std::size_t bytes) {
  const MessagePtr copy(request.New());
  copy->CopyFrom(request);
  copy->GetReflection()
      ->MutableUnknownFields(copy.get())
      ->AddLengthDelimited(15'000, std::string(bytes, 'x'));
  return copy->SerializeAsString();
}

/// A watch that was let in stays open: a moment is enough to know.
std::chrono::milliseconds patience_for(const google::protobuf::MethodDescriptor& method,
                                       bool refused) {
  return std::chrono::milliseconds(method.server_streaming() && !refused ? 500 : 20'000);
}

bool is_field_refusal(const Answer& answer) {
  const auto& reason = answer.detail.reason();
  if (reason == "ENROLL_TOKEN_INVALID") return answer.code == kUnauthenticated;
  return answer.code == kInvalid &&
         (reason == "BAD_FIELD" || reason == "BAD_MASK" || reason == "BAD_FILTER" ||
          reason == "BAD_PAGE_TOKEN" || reason == "BAD_CSR");
}

/// A refusal for a field says which.
void check_named(const Answer& answer, const FieldPlace& place) {
  // Bytes in the first message of a stream stand where another field is wanted.
  const bool out_of_place = place.field->type() == google::protobuf::FieldDescriptor::TYPE_BYTES;
  if (answer.detail.reason() != "BAD_FIELD" || out_of_place) return;
  bool named = false;
  for (const auto& violation : answer.detail.field_violations())
    named = named || violation.field() == place.path || violation.field().starts_with(place.path);
  CHECK(named);
}

TEST_CASE("bad requests are refused with the right code and reason", "[api]") {
  const ApiServer server;
  for (const auto& row : kRows) {
    const auto answer = server.call_json(row.method, row.request);
    CAPTURE(row.method, row.request, answer.message);
    CHECK(answer.code == row.code);
    CHECK(answer.detail.reason() == row.reason);
  }
}

TEST_CASE("what does not exist is refused by name, in every method that names something", "[api]") {
  const ApiServer server;
  for (const auto* method : methods()) {
    const auto& good = good_request(*method);
    const auto request = parse_request(*method, good.json);
    for (const auto* name : {"name", "job", "parent", "host", "update_mask"})
      if (method->input_type()->FindFieldByName(name) != nullptr && good.code == 0)
        FAIL(good.method << " names something: its good request must name what does not exist");
    const auto answer = server.call(*method, request->SerializeAsString(), server.admin_token(),
                                    patience_for(*method, good.code != 0));
    CAPTURE(good.method, good.json, answer.message);
    if (good.code == 0 && method->server_streaming()) continue;  // it goes on
    CHECK(answer.code == good.code);
    CHECK(answer.detail.reason() == good.reason);
  }
}

TEST_CASE("a missing field is refused by name, in every method that requires one", "[api]") {
  const ApiServer server;
  for (const auto* method : methods()) {
    const auto& good = good_request(*method);
    const auto request = parse_request(*method, good.json);
    std::set<std::string> required;
    for (const auto& place : fields_of(*request)) {
      const bool is_optional = std::ranges::count(good.optional, place.path) > 0;
      if (place.is_set() && !is_optional) required.insert(place.path);
    }
    for (const auto& path : required) {
      const auto less = parse_request(*method, good.json);
      for (const auto& place : fields_of(*less)) {
        if (place.path != path) continue;
        place.clear();
        const auto answer = server.call(*method, less->SerializeAsString(), server.admin_token());
        CAPTURE(good.method, path, answer.code, answer.message);
        CHECK(is_field_refusal(answer));
      }
    }
    if (!required.empty()) continue;
    const auto answer =
        server.call(*method, "", server.admin_token(), patience_for(*method, false));
    CAPTURE(good.method, answer.message);
    CHECK((answer.code == 0 || method->server_streaming()));
  }
}

TEST_CASE("a malformed field is refused by name, every field of every method", "[api]") {
  ApiServer server;
  for (const auto* method : methods()) {
    const auto& good = good_request(*method);
    const auto fields = fields_of(*parse_request(*method, good.json));
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const auto request = parse_request(*method, good.json);
      const auto place = fields_of(*request).at(i);
      spoil(place, [&](const std::string& what) {
        const auto answer = server.call(*method, request->SerializeAsString(), server.admin_token(),
                                        patience_for(*method, true));
        CAPTURE(good.method, place.path, what, answer.code, answer.detail.reason(), answer.message);
        CHECK(is_field_refusal(answer));
        check_named(answer, place);
        // Ten wrong enrol tokens a minute are enough for one address.
        if (answer.detail.reason() == "ENROLL_TOKEN_INVALID") server.restart();
      });
    }
  }
}

TEST_CASE("a message over the limit is refused with the limit, in every method", "[api]") {
  ApiServer server;
  for (const auto* method : methods()) {
    const auto request = parse_request(*method, good_request(*method).json);
    CAPTURE(full_name(*method));
    for (const std::size_t size : {kMaxMessage, std::size_t{10} << 20}) {
      const auto answer = server.call(*method, padded(*request, size), server.admin_token());
      CAPTURE(size, answer.message);
      CHECK(answer.code == kResourceExhausted);
      CHECK(answer.detail.reason() == "MESSAGE_TOO_LARGE");
      const auto& numbers = answer.detail.metadata();
      const auto limit = numbers.find("limit_bytes");
      CHECK((limit != numbers.end() && limit->second == std::to_string(kMaxMessage)));
      CHECK_FALSE(answer.detail.remedy().empty());
    }
    // Who may not call is told that, whatever the size.
    if (method->options().GetExtension(v1::authorization).permission() != v1::PERMISSION_PUBLIC)
      CHECK(server.call(*method, padded(*request, kMaxMessage), "").code == kUnauthenticated);
  }
  // Far more ends in the transport, before there is anybody to say why.
  const auto* method = methods().front();
  const auto request = parse_request(*method, good_request(*method).json);
  CHECK(server.call(*method, padded(*request, 20u << 20), server.admin_token()).code ==
        kResourceExhausted);
  CHECK(server.is_running());
  CHECK(server.call_json("ServerService/GetServerInfo", "{}").code == 0);
}

TEST_CASE("bytes that are no message and odd text harm nobody", "[api]") {
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
