// server/version.h - the version this server tells clients and agents.
#pragma once

namespace reeve::server {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace reeve::server
