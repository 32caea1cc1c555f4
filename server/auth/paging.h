// server/auth/paging.h - page sizes and opaque page tokens of the lists that server/auth and
// server/api make.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace reeve::server {

/// 50 for 0, at most 1000. InvalidArgument/BAD_FIELD when negative.
Result<int> page_limit(std::int32_t page_size);
/// A token that only the list called `list` takes back.
std::string make_page_token(std::string_view list, std::string_view position);
/// The position; empty for an empty token. InvalidArgument/BAD_PAGE_TOKEN.
Result<std::string> read_page_token(std::string_view list, std::string_view token);

}  // namespace reeve::server
