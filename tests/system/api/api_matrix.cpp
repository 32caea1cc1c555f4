#include "tests/system/api/api_matrix.h"

#include <algorithm>
#include <map>

#include <catch2/catch.hpp>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>

#include "base/crypto/enroll_token.h"
#include "base/crypto/x509.h"
#include "base/random.h"
#include "base/text.h"

namespace reeve::test {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
constexpr int kNotFound = 5;
constexpr int kPermissionDenied = 7;
constexpr int kUnauthenticated = 16;

constexpr const char* kVerb = R"({"name":"vms/NAME"})";

std::vector<GoodRequest> rows() {
  return {
      {"VmService/GetVm", R"({"name":"vms/NAME"})", {}, kNotFound, "VM_NOT_FOUND"},
      {"VmService/ListVms", "{}"},
      {"VmService/CreateVm",
       R"({"vm":{"display_name":"web","labels":{"a":"b"},"description":"x","spec":{"host":"hosts/NAME","hypervisor":"qemu",
           "cpus":1,"memory_mib":64,"boot":{"kernel":"images/NAME","initrd":"images/NAME"},
           "limits":{"cpu_weight":100,"cpu_limit_percent":100,"memory_limit_mib":1024}}}})",
       {"vm.labels", "vm.description", "vm.spec.host", "vm.spec.hypervisor", "vm.spec.boot.initrd",
        "vm.spec.limits.cpu_weight", "vm.spec.limits.cpu_limit_percent",
        "vm.spec.limits.memory_limit_mib"},
       kNotFound,
       "IMAGE_NOT_FOUND"},
      {"VmService/UpdateVm",
       R"({"vm":{"name":"vms/NAME","display_name":"web","labels":{"a":"b"},"description":"x",
           "spec":{"cpus":1,"memory_mib":64,"limits":{"cpu_weight":100,"cpu_limit_percent":100}}},
           "update_mask":"displayName,labels,description,spec.cpus,spec.memoryMib,spec.limits.cpuWeight,spec.limits.cpuLimitPercent"})",
       {"vm.labels", "vm.description", "vm.spec.limits.cpu_weight",
        "vm.spec.limits.cpu_limit_percent"},
       kNotFound,
       "VM_NOT_FOUND"},
      {"VmService/DeleteVm", kVerb, {}, kNotFound, "VM_NOT_FOUND"},
      {"VmService/StartVm", kVerb, {}, kNotFound, "VM_NOT_FOUND"},
      {"VmService/StopVm", kVerb, {}, kNotFound, "VM_NOT_FOUND"},
      {"VmService/RebootVm", kVerb, {}, kNotFound, "VM_NOT_FOUND"},
      {"VmService/PauseVm", kVerb, {}, kNotFound, "VM_NOT_FOUND"},
      {"VmService/ResumeVm", kVerb, {}, kNotFound, "VM_NOT_FOUND"},
      {"VmService/SaveVm", kVerb, {}, kNotFound, "VM_NOT_FOUND"},
      {"VmService/RestoreVm", kVerb, {}, kNotFound, "VM_NOT_FOUND"},
      {"VmService/AttachConsole",
       R"({"open":{"name":"vms/NAME","mode":"MODE_WRITE","from_offset":"7"}})",
       {"open.mode", "open.from_offset"},
       kNotFound,
       "VM_NOT_FOUND"},
      {"HostService/GetHost", R"({"name":"hosts/NAME"})", {}, kNotFound, "HOST_NOT_FOUND"},
      {"HostService/ListHosts", "{}"},
      {"HostService/UpdateHost",
       R"({"host":{"name":"hosts/NAME","display_name":"h","labels":{"a":"b"}},"update_mask":"displayName,labels"})",
       {"host.labels"},
       kNotFound,
       "HOST_NOT_FOUND"},
      {"HostService/DeleteHost", R"({"name":"hosts/NAME"})", {}, kNotFound, "HOST_NOT_FOUND"},
      {"HostService/CreateEnrollToken",
       R"({"lifetime":"60s","host_display_name":"h"})",
       {"lifetime", "host_display_name"}},
      {"HypervisorService/GetHypervisor",
       R"({"name":"hosts/NAME/hypervisors/qemu"})",
       {},
       kNotFound,
       "HYPERVISOR_NOT_FOUND"},
      {"HypervisorService/ListHypervisors",
       R"({"parent":"hosts/NAME"})",
       {"parent"},
       kNotFound,
       "HOST_NOT_FOUND"},
      {"ImageService/GetImage", R"({"name":"images/NAME"})", {}, kNotFound, "IMAGE_NOT_FOUND"},
      {"ImageService/ListImages", "{}"},
      {"ImageService/ImportImage",
       R"({"image":{"display_name":"i","labels":{"a":"b"},"description":"x","kind":"KIND_DISK","format":"DISK_FORMAT_RAW",
           "sha256":"0000000000000000000000000000000000000000000000000000000000000000"},
           "host":"hosts/NAME","host_path":"/srv/x"})",
       {"image.labels", "image.description", "image.sha256", "host"},
       kNotFound,
       "HOST_NOT_FOUND"},
      {"ImageService/UploadImage", R"({"job":"jobs/NAME"})", {}, kNotFound, "JOB_NOT_FOUND"},
      {"ImageService/UpdateImage",
       R"({"image":{"name":"images/NAME","display_name":"i","labels":{"a":"b"},"description":"x"},
           "update_mask":"displayName,labels,description"})",
       {"image.labels", "image.description"},
       kNotFound,
       "IMAGE_NOT_FOUND"},
      {"ImageService/DeleteImage", R"({"name":"images/NAME"})", {}, kNotFound, "IMAGE_NOT_FOUND"},
      {"JobService/GetJob", R"({"name":"jobs/NAME"})", {}, kNotFound, "JOB_NOT_FOUND"},
      {"JobService/ListJobs", "{}"},
      {"JobService/WaitJob", R"({"name":"jobs/NAME"})", {}, kNotFound, "JOB_NOT_FOUND"},
      {"JobService/CancelJob", R"({"name":"jobs/NAME"})", {}, kNotFound, "JOB_NOT_FOUND"},
      {"JobService/ResolveJob",
       R"({"name":"jobs/NAME","choice":"retry"})",
       {},
       kNotFound,
       "JOB_NOT_FOUND"},
      {"EventService/Watch", R"({"from_revision":"-1"})", {"from_revision"}},
      {"EventService/ListEvents", R"({"kinds":["vms"]})", {"kinds"}},
      {"EventService/ListAuditEntries", "{}"},
      {"ServerService/GetServerInfo", "{}"},
      {"ServerService/GetSelf", "{}"},
      {"ServerService/CreateApiToken",
       R"({"token":{"display_name":"t","role":"ROLE_VIEWER","expire_time":"2100-01-01T00:00:00Z"}})",
       {"token.expire_time"}},
      {"ServerService/ListApiTokens", "{}"},
      {"ServerService/DeleteApiToken",
       R"({"name":"tokens/NAME"})",
       {},
       kNotFound,
       "TOKEN_NOT_FOUND"},
      {"EnrollmentService/Enroll",
       R"({"token":"TOKEN","hostname":"h","csr_pem":"CSR"})",
       {},
       kUnauthenticated,
       "ENROLL_TOKEN_INVALID"},
      {"EnrollmentService/Renew",
       R"({"csr_pem":"CSR"})",
       {},
       kPermissionDenied,
       "HOST_KEY_UNKNOWN"},
  };
}

void replace(std::string& text, const std::string& what, const std::string& by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

std::vector<GoodRequest> complete_rows() {
  const auto csr = crypto::make_csr_pem(crypto::generate_key_pem().value(), "nobody").value();
  const auto token = crypto::make_enroll_token(std::string(64, 'a'), SystemRandom::instance());
  std::string csr_json = csr;
  replace(csr_json, "\n", "\\n");
  auto all = rows();
  for (auto& row : all) {
    replace(row.json, "NAME", kAbsent);
    replace(row.json, "CSR", csr_json);
    replace(row.json, "TOKEN", token);
  }
  for (const auto& row : all)
    if (std::ranges::none_of(methods(), [&](auto* m) { return full_name(*m) == row.method; }))
      FAIL(row.method << " is no method of the API");
  return all;
}

bool is_leaf(const FieldDescriptor& field) {
  return field.message_type() == nullptr || field.is_repeated() ||
         field.message_type()->full_name().starts_with("google.protobuf.");
}

void collect(Message& message, const std::string& prefix, bool top, std::vector<FieldPlace>& out) {
  const auto* reflection = message.GetReflection();
  const auto* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    FieldPlace place{prefix + field->name(), &message, field};
    if (is_leaf(*field)) {
      if (top || place.is_set()) out.push_back(place);
    } else if (place.is_set()) {
      collect(*reflection->MutableMessage(&message, field), place.path + ".", false, out);
    }
  }
}

const std::map<std::string, std::vector<std::string>>& bad_texts() {
  static const std::map<std::string, std::vector<std::string>> texts{
      {"request_id", {"x", "00000000-0000-4000-8000-00000000000g"}},
      {"page_token", {"garbage", "AAAA"}},
      {"filter",
       {"x", "no such = = term", "nosuchkey = 1", std::string(5000, 'a'), std::string(4096, '('),
        "NOT NOT a = b", "a = \"b"}},
      {"order_by", {"nonsense", "' OR 1=1 --"}},
      {"display_name", {"-x", "a b", "../x", std::string(64, 'a')}},
      {"host_display_name", {std::string(64, 'a')}},
      {"description", {std::string(4097, 'a')}},
      {"hypervisor", {"A!", std::string(33, 'a')}},
      {"sha256", {"abc", std::string(64, 'Z')}},
      {"host_path", {"relative", std::string(5000, '/')}},
      {"hostname", {std::string(300, 'a')}},
      {"csr_pem", {"x"}},
      {"token", {"x"}},
      {"resource", {"x", "vms/x", "dragons/00000000-0000-4000-8000-000000000000"}},
      {"kinds", {"dragons"}},
  };
  return texts;
}

const std::map<std::string, std::vector<std::int64_t>>& bad_numbers() {
  static const std::map<std::string, std::vector<std::int64_t>> numbers{
      {"page_size", {-1}},
      {"from_revision", {-2}},
      {"from_offset", {-2}},
      {"upload_bytes", {0, -1, std::int64_t{1} << 60}},
      {"cpus", {0, -1, 257}},
      {"memory_mib", {0, -1, 31, std::int64_t{1} << 40}},
      {"cpu_weight", {-1, 10'001}},
      {"cpu_limit_percent", {-1, 25'701}},
      {"memory_limit_mib", {-1, 65}},
  };
  return numbers;
}

/// Names of resources: "vms/{uid}".
std::vector<std::string> bad_names(const std::string& good) {
  std::string no_uuid = good;
  replace(no_uuid, "0000", "zzzz");
  return {"x", "../" + good, "dragons/" + std::string(kAbsent), no_uuid, good.substr(0, 12)};
}

void spoil_text(const FieldPlace& place, const std::function<void(const std::string&)>& then) {
  const auto* reflection = place.message->GetReflection();
  const auto good =
      place.field->is_repeated() ? "" : reflection->GetString(*place.message, place.field);
  const auto known = bad_texts().find(place.field->name());
  const bool is_name = good.find(kAbsent) != std::string::npos;
  if (!is_name && known == bad_texts().end())
    FAIL("say in api_matrix.cpp what is wrong in field " << place.path);
  for (const auto& text : is_name ? bad_names(good) : known->second) {
    if (place.field->is_repeated())
      reflection->AddString(place.message, place.field, text);
    else
      reflection->SetString(place.message, place.field, text);
    then(text.substr(0, 80));
  }
}

void spoil_number(const FieldPlace& place, const std::function<void(const std::string&)>& then) {
  const auto* reflection = place.message->GetReflection();
  const auto known = bad_numbers().find(place.field->name());
  if (known == bad_numbers().end())
    FAIL("say in api_matrix.cpp what is wrong in field " << place.path);
  for (const auto number : known->second) {
    if (place.field->cpp_type() == FieldDescriptor::CPPTYPE_INT32)
      reflection->SetInt32(place.message, place.field,
                           static_cast<std::int32_t>(std::min<std::int64_t>(number, INT32_MAX)));
    else
      reflection->SetInt64(place.message, place.field, number);
    then(std::to_string(number));
  }
}

/// Durations, times, masks and maps, as JSON of the message around them.
const std::map<std::string, std::vector<std::string>>& bad_messages() {
  static const std::map<std::string, std::vector<std::string>> messages{
      {"google.protobuf.Duration", {R"("-1s")", R"("-0.5s")", R"("300000000000s")"}},
      {"google.protobuf.Timestamp", {R"("1970-01-02T00:00:00Z")"}},
      {"google.protobuf.FieldMask", {R"("noSuch")", R"("name")"}},
      {"labels", {R"({"a b":"x"})", R"({"":"x"})", R"({"a":"x\ny"})"}},
  };
  return messages;
}

void spoil_message(const FieldPlace& place, const std::function<void(const std::string&)>& then) {
  const bool labels = place.field->is_map();
  const auto known =
      bad_messages().find(labels ? place.field->name() : place.field->message_type()->full_name());
  if (known == bad_messages().end())
    FAIL("say in api_matrix.cpp what is wrong in field " << place.path);
  for (const auto& json : known->second) {
    if (place.field->name() == "timeout" && json.size() > 10) continue;  // the longest is taken
    place.clear();
    const MessagePtr around(place.message->New());
    const auto parsed = google::protobuf::util::JsonStringToMessage(
        "{\"" + place.field->name() + "\":" + json + "}", around.get());
    REQUIRE(parsed.ok());
    place.message->MergeFrom(*around);
    then(json);
  }
}

}  // namespace

std::string full_name(const google::protobuf::MethodDescriptor& method) {
  return method.service()->name() + "/" + method.name();
}

const GoodRequest& good_request(const google::protobuf::MethodDescriptor& method) {
  static const std::vector<GoodRequest> all = complete_rows();
  const auto it = std::ranges::find(all, full_name(method), &GoodRequest::method);
  if (it == all.end()) FAIL(full_name(method) << " has no good request in api_matrix.cpp");
  return *it;
}

MessagePtr parse_request(const google::protobuf::MethodDescriptor& method,
                         const std::string& json) {
  static google::protobuf::DynamicMessageFactory factory;
  MessagePtr request(factory.GetPrototype(method.input_type())->New());
  const auto parsed = google::protobuf::util::JsonStringToMessage(json, request.get());
  if (!parsed.ok()) FAIL("bad JSON in test: " << json << ": " << parsed.ToString());
  return request;
}

bool FieldPlace::is_set() const {
  const auto* reflection = message->GetReflection();
  return field->is_repeated() ? reflection->FieldSize(*message, field) > 0
                              : reflection->HasField(*message, field);
}

std::vector<FieldPlace> fields_of(Message& request) {
  std::vector<FieldPlace> out;
  collect(request, "", true, out);
  return out;
}

bool spoil(const FieldPlace& place, const std::function<void(const std::string& what)>& then) {
  const auto& field = *place.field;
  const auto type = field.cpp_type();
  if (type == FieldDescriptor::CPPTYPE_BOOL || field.name() == "etag" || field.name() == "choice")
    return false;
  if (type == FieldDescriptor::CPPTYPE_ENUM) {
    place.message->GetReflection()->SetEnumValue(place.message, &field, 99);
    then("99");
  } else if (type == FieldDescriptor::CPPTYPE_MESSAGE) {
    spoil_message(place, then);
  } else if (field.type() == FieldDescriptor::TYPE_BYTES) {
    place.message->GetReflection()->SetString(place.message, &field, "bytes");
    then("bytes, in the first message");
  } else if (type == FieldDescriptor::CPPTYPE_STRING) {
    spoil_text(place, then);
  } else {
    spoil_number(place, then);
  }
  return true;
}

}  // namespace reeve::test
