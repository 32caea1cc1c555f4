#include "db/model/job.h"

#include "base/check.h"

namespace reeve::db {

StoredError StoredError::of(const Error& error) {
  return {.code = static_cast<int>(error.code()),
          .reason = std::string(error.reason()),
          .message = error.message(),
          .remedy = error.remedy()};
}

Error StoredError::to_error() const {
  REEVE_CHECK(is_set());
  return Error::from_wire(static_cast<Code>(code), reason, message).remedy(remedy);
}

}  // namespace reeve::db
