#include "server/auth/paging.h"

#include <algorithm>

#include "base/text.h"

namespace reeve::server {

Result<int> page_limit(std::int32_t page_size) {
  constexpr int kDefault = 50;
  constexpr int kMost = 1000;
  if (page_size < 0) {
    return Error{Code::InvalidArgument, "BAD_FIELD", "page_size is negative"}.with(
        "field:page_size", "is negative");
  }
  return page_size == 0 ? kDefault : std::min(page_size, kMost);
}

std::string make_page_token(std::string_view list, std::string_view position) {
  return to_base64url(as_bytes(std::string(list).append(":").append(position)));
}

Result<std::string> read_page_token(std::string_view list, std::string_view token) {
  if (token.empty()) return std::string();
  const auto bytes = from_base64url(token);
  if (bytes.ok()) {
    const std::string text(reinterpret_cast<const char*>(bytes.value().data()),
                           bytes.value().size());
    if (text.size() > list.size() && text.starts_with(list) && text[list.size()] == ':')
      return text.substr(list.size() + 1);
  }
  return Error{Code::InvalidArgument, "BAD_PAGE_TOKEN", "page_token is not one of this list"};
}

}  // namespace reeve::server
