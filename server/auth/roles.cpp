#include "server/auth/roles.h"

#include <array>
#include <initializer_list>

namespace reeve::server {
namespace {

constexpr PermissionSet set_of(std::initializer_list<v1::Permission> permissions) {
  PermissionSet set;
  for (const auto permission : permissions) set = set.with(permission);
  return set;
}

struct Row {
  v1::Role role;
  std::string_view text;
  PermissionSet permissions;
};

constexpr std::array<Row, 4> kRoles{{
    {v1::ROLE_ADMINISTRATOR, "administrator",
     set_of({v1::PERMISSION_PUBLIC, v1::PERMISSION_VIEW, v1::PERMISSION_OPERATE,
             v1::PERMISSION_EDIT_VMS, v1::PERMISSION_EDIT_IMAGES, v1::PERMISSION_EDIT_HOSTS,
             v1::PERMISSION_ADMINISTER})},
    {v1::ROLE_EDITOR, "editor",
     set_of({v1::PERMISSION_PUBLIC, v1::PERMISSION_VIEW, v1::PERMISSION_OPERATE,
             v1::PERMISSION_EDIT_VMS, v1::PERMISSION_EDIT_IMAGES})},
    {v1::ROLE_OPERATOR, "operator",
     set_of({v1::PERMISSION_PUBLIC, v1::PERMISSION_VIEW, v1::PERMISSION_OPERATE})},
    {v1::ROLE_VIEWER, "viewer", set_of({v1::PERMISSION_PUBLIC, v1::PERMISSION_VIEW})},
}};

}  // namespace

PermissionSet permissions_of(v1::Role role) {
  for (const auto& row : kRoles)
    if (row.role == role) return row.permissions;
  return {};
}

std::string_view to_text(v1::Role role) {
  for (const auto& row : kRoles)
    if (row.role == role) return row.text;
  return {};
}

std::optional<v1::Role> role_of(std::string_view text) {
  for (const auto& row : kRoles)
    if (row.text == text) return row.role;
  return std::nullopt;
}

}  // namespace reeve::server
