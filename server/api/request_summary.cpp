#include "server/api/request_summary.h"

#include <memory>

#include <google/protobuf/util/json_util.h>

#include "reeve/v1/authorization.pb.h"
#include "server/api/admission.h"

namespace reeve::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr std::size_t kMaxSummary = 2048;

std::string text_field(const Message& message, const char* name) {
  const auto* field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated() || field->type() != FieldDescriptor::TYPE_STRING)
    return {};
  return message.GetReflection()->GetString(message, field);
}

}  // namespace

std::string resource_of(const Message& request) {
  for (const auto* name : {"name", "job"})
    if (auto text = text_field(request, name); !text.empty()) return text.substr(0, 256);
  const auto* descriptor = request.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    if (field->is_repeated() || field->message_type() == nullptr) continue;
    const auto& inner = request.GetReflection()->GetMessage(request, field);
    for (const auto* name : {"name", "display_name"})
      if (auto text = text_field(inner, name); !text.empty()) return text.substr(0, 256);
  }
  return {};
}

void remove_secrets(Message& message) {
  const auto* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->options().GetExtension(v1::sensitive)) {
      reflection->ClearField(&message, field);
    } else if (field->message_type() != nullptr && field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(message, field); ++i)
        remove_secrets(*reflection->MutableRepeatedMessage(&message, field, i));
    } else if (field->message_type() != nullptr) {
      remove_secrets(*reflection->MutableMessage(&message, field));
    }
  }
}

std::string summary_of(const Message& request) {
  if (!check_size(request).ok()) return {};  // refused: not worth unfolding
  const std::unique_ptr<Message> copy(request.New());
  copy->CopyFrom(request);
  remove_secrets(*copy);
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(*copy, &json, options).ok()) return {};
  if (json.size() > kMaxSummary) {
    json.resize(kMaxSummary);
    while (!json.empty() && (static_cast<unsigned char>(json.back()) & 0x80) != 0) json.pop_back();
    json += "...";
  }
  return json;
}

}  // namespace reeve::server
