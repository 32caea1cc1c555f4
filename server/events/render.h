// server/events/render.h - stored versions as events of the API.
#pragma once

#include <optional>
#include <vector>

#include "base/status.h"
#include "db/model/version.h"
#include "reeve/v1/event.pb.h"
#include "server/app/inventory.h"

namespace reeve::server {

/// How much an event says: the resource as it was then, or, while it is still the newest version,
/// also what is possible now (allowed_actions, active_job, a host's hypervisors).
enum class Detail { Then, Now };

/// Nothing for versions that are no resource of the API by themselves and whose host is gone.
Result<std::optional<v1::Event>> render(Inventory& inventory, const db::Version& version,
                                        PermissionSet permissions, Detail detail);

/// "hosts" and the like as kinds of versions. InvalidArgument/BAD_FIELD.
Result<std::vector<db::ObjectKind>> kinds_of(
    const google::protobuf::RepeatedPtrField<std::string>& names);

v1::Event bookmark(std::int64_t revision, WallTime now);
v1::Event gap(std::int64_t revision, WallTime now);

}  // namespace reeve::server
