#include "db/model/object.h"

namespace reeve::db {

Result<ObjectKind> object_kind_of(std::string_view text) {
  for (const auto kind : {ObjectKind::Host, ObjectKind::Hypervisor, ObjectKind::Vm,
                          ObjectKind::Image, ObjectKind::Job})
    if (to_text(kind) == text) return kind;
  return Error{Code::InvalidArgument, "BAD_KIND", "no kind '" + std::string(text) + "'"};
}

}  // namespace reeve::db
