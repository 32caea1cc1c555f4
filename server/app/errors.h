// server/app/errors.h - errors as the API and the journal carry them.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "reeve/v1/error_detail.pb.h"

namespace reeve::server {

/// Everything of an Error. Metadata keys "field:PATH" become field violations.
v1::ErrorDetail to_detail(const Error& error);
v1::ErrorInfo to_error_info(const Error& error);
/// The Error again; of something that says no code, Internal/UNKNOWN.
Error to_error(const v1::ErrorInfo& info);

/// InvalidArgument/BAD_FIELD about one request field; `problem` reads after the field's path.
Error bad_field(std::string_view field, std::string_view problem);

}  // namespace reeve::server
