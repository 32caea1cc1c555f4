// cli/commands/vm_create.h - reeve vm create, and the options that update shares with it.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/commands/vm_limits.h"
#include "cli/session.h"

namespace reeve::cli {

void add_vm_create(CLI::App& vm, Session& session);
/// --cpu-weight, --cpu-limit and --memory-limit, of create and update.
void add_limit_options(CLI::App& verb, LimitArguments& arguments);

}  // namespace reeve::cli
