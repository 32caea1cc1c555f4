// base/uuid.h - random identifiers (RFC 4122 version 4) in their canonical lower-case text form.
#pragma once

#include <string>
#include <string_view>

#include "base/random.h"

namespace reeve {

std::string new_uuid(Random& random);
/// True for 8-4-4-4-12 lower-case hexadecimal digits, and nothing else.
bool is_uuid(std::string_view text);

}  // namespace reeve
