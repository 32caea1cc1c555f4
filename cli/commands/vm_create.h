// cli/commands/vm_create.h - reeve vm create, and the options that update shares with it.
#pragma once

#include "cli/commands/verb.h"
#include "cli/commands/vm_limits.h"

namespace reeve::cli {

void add_vm_create(const Verb& vm, Session& session);
/// --cpu-weight, --cpu-limit and --memory-limit, of create and update.
void add_limit_options(const Verb& verb, LimitArguments& arguments);

}  // namespace reeve::cli
