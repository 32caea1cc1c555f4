#include "server/rpc/status_to_grpc.h"

#include "base/text.h"
#include "server/app/errors.h"

namespace reeve::server {
namespace {

constexpr std::size_t kMaxText = 1024;
constexpr std::size_t kMaxDetail = 4096;

std::string cut(const std::string& text) {
  if (text.size() <= kMaxText && is_utf8(text)) return text;
  std::string out;
  for (const char c : text.substr(0, kMaxText))
    out += static_cast<unsigned char>(c) < 0x80 ? c : '?';
  return text.size() > kMaxText ? out + "..." : out;
}

}  // namespace

grpc::Status to_grpc(const Error& error) {
  auto detail = to_detail(error);
  detail.set_remedy(cut(detail.remedy()));
  detail.set_resource(cut(detail.resource()));
  for (auto& violation : *detail.mutable_field_violations()) {
    violation.set_field(cut(violation.field()));
    violation.set_description(cut(violation.description()));
  }
  for (auto& [key, value] : *detail.mutable_metadata()) value = cut(value);
  if (detail.ByteSizeLong() > kMaxDetail) {
    detail.clear_metadata();
    detail.clear_field_violations();
  }
  return {static_cast<grpc::StatusCode>(error.code()), cut(error.message()),
          detail.SerializeAsString()};
}

}  // namespace reeve::server
