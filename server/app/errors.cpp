#include "server/app/errors.h"

namespace reeve::server {

namespace {
constexpr std::string_view kFieldPrefix = "field:";
}

v1::ErrorDetail to_detail(const Error& error) {
  v1::ErrorDetail detail;
  detail.set_reason(std::string(error.reason()));
  detail.set_resource(error.resource());
  detail.set_remedy(error.remedy());
  for (const auto& [key, value] : error.metadata()) {
    if (key.starts_with(kFieldPrefix)) {
      auto& violation = *detail.add_field_violations();
      violation.set_field(key.substr(kFieldPrefix.size()));
      violation.set_description(value);
    } else {
      (*detail.mutable_metadata())[key] = value;
    }
  }
  return detail;
}

v1::ErrorInfo to_error_info(const Error& error) {
  v1::ErrorInfo info;
  info.set_code(static_cast<std::int32_t>(error.code()));
  info.set_message(error.message());
  *info.mutable_detail() = to_detail(error);
  return info;
}

Error to_error(const v1::ErrorInfo& info) {
  const bool known = info.code() >= static_cast<int>(Code::Cancelled) &&
                     info.code() <= static_cast<int>(Code::Unauthenticated);
  const auto& detail = info.detail();
  auto error =
      Error::from_wire(known ? static_cast<Code>(info.code()) : Code::Internal,
                       detail.reason().empty() ? "UNKNOWN" : detail.reason(), info.message())
          .remedy(detail.remedy())
          .resource(detail.resource());
  for (const auto& [key, value] : detail.metadata()) error = std::move(error).with(key, value);
  for (const auto& violation : detail.field_violations())
    error = std::move(error).with(std::string(kFieldPrefix) + violation.field(),
                                  violation.description());
  return error;
}

Error bad_field(std::string_view field, std::string_view problem) {
  return Error(Code::InvalidArgument, "BAD_FIELD", std::string(field) + " " + std::string(problem))
      .with(std::string(kFieldPrefix) + std::string(field), std::string(problem));
}

}  // namespace reeve::server
