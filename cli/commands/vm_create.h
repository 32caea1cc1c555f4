// cli/commands/vm_create.h - reeve vm create.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/session.h"

namespace reeve::cli {

void add_vm_create(CLI::App& vm, Session& session);

}  // namespace reeve::cli
