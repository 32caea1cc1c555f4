// server/auth/roles.h - which permissions a role holds: the one table.
#pragma once

#include <optional>
#include <string_view>

#include "reeve/v1/server_service.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

/// Nothing for an unknown role. Every role holds PERMISSION_PUBLIC.
PermissionSet permissions_of(v1::Role role);
/// The word stored in the database, e.g. "operator"; empty for an unknown role.
std::string_view to_text(v1::Role role);
std::optional<v1::Role> role_of(std::string_view text);

}  // namespace reeve::server
