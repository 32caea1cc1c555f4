// cli/option_names.h - the server speaks of fields of its API; people typed options.
#pragma once

#include <string>

namespace reeve::cli {

/// `text` with the API's fields and its words for repeating a call as options of this command.
std::string in_options(std::string text);

}  // namespace reeve::cli
