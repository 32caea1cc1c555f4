// db/model/object.h - what the stored nouns have in common, who changed them, and how lists are
// paged.
//
// Documents (spec, status, plan, ...) are serialized messages that db/ keeps as opaque bytes.
// States, kinds and roles are lower-case words whose vocabulary belongs to server/; db/ only
// compares them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"

namespace reeve::db {

/// Kinds that have versions, and so a feed and a history. Stored as the words below.
enum class ObjectKind { Host, Hypervisor, Vm, Image, Job };

constexpr std::string_view to_text(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::Host: return "host";
    case ObjectKind::Hypervisor: return "hypervisor";
    case ObjectKind::Vm: return "vm";
    case ObjectKind::Image: return "image";
    case ObjectKind::Job: return "job";
  }
  return "";
}
/// InvalidArgument/BAD_KIND.
Result<ObjectKind> object_kind_of(std::string_view text);

/// Members of every versioned noun. The repository sets all but uid and name.
struct ObjectHead {
  std::string uid{};
  std::string name{};
  std::string etag{};  ///< changes with intent (name, spec and its columns), not with status
  std::int64_t revision =
      0;  ///< changes with everything that is announced; the global counter's value
  WallTime create_time{};
  WallTime update_time{};
};

/// Who changes something, in whose name and when: goes into the version.
struct Change {
  std::string actor{};    ///< user, token or agent, e.g. "users/admin"
  std::string job_uid{};  ///< empty when no job did it
  WallTime time{};
};

/// Where a page of a list begins: the last row of the page before.
struct PageKey {
  std::string value{};  ///< of the column the list is ordered by; numbers in decimal
  std::string uid{};
};

/// What a list is ordered by; equal values are ordered by uid.
enum class ObjectOrder { Name, CreateTime, UpdateTime };

/// The key to continue a list after `row`. A row that changes between two pages moves in a list by
/// update_time: it may be seen twice or, going down, not again.
PageKey key_of(const ObjectHead& row, ObjectOrder order);

struct Page {
  std::optional<PageKey> after{};
  int limit = 50;
  bool descending = false;
};

}  // namespace reeve::db
