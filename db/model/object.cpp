#include "db/model/object.h"

namespace reeve::db {

Result<ObjectKind> object_kind_of(std::string_view text) {
  for (const auto kind : {ObjectKind::Host, ObjectKind::Hypervisor, ObjectKind::Vm,
                          ObjectKind::Image, ObjectKind::Job})
    if (to_text(kind) == text) return kind;
  return Error{Code::InvalidArgument, "BAD_KIND", "no kind '" + std::string(text) + "'"};
}

PageKey key_of(const ObjectHead& row, ObjectOrder order) {
  switch (order) {
    case ObjectOrder::Name: break;
    case ObjectOrder::CreateTime: return {std::to_string(to_micros(row.create_time)), row.uid};
    case ObjectOrder::UpdateTime: return {std::to_string(to_micros(row.update_time)), row.uid};
  }
  return {row.name, row.uid};
}

}  // namespace reeve::db
