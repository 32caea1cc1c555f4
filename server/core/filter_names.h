// server/core/filter_names.h - what a filter means by the name of another resource.
#pragma once

#include <string>

#include "db/sqlite/transaction.h"
#include "server/app/list_filter.h"

namespace reeve::server {

/// The uid of a host: of "hosts/{uid}", which need not exist, or of a display name.
/// InvalidArgument/BAD_FIELD, BAD_FILTER when no host is called so.
Result<std::string> host_in_filter(db::ReadTransaction& tx, const std::string& value);
/// The same of what a job is about: a machine or an image. BAD_FILTER also when both are called so.
Result<std::string> target_in_filter(db::ReadTransaction& tx, const std::string& value);

/// Of lists whose objects are on hosts.
inline constexpr FilterKey kHostKey{
    .name = "host",
    .type = FilterKey::Type::Other,
    .read = [](const std::string& value, db::ReadTransaction& tx) -> Result<db::Restriction> {
      return db::Restriction{.column = db::Column::HostUid,
                             .value = TRY(host_in_filter(tx, value))};
    }};

}  // namespace reeve::server
