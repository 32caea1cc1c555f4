// cli/commands/commands.h - one function per noun, each adds its verbs to the command line.
#pragma once

#include "cli/commands/verb.h"

namespace reeve::cli {

void add_login(const Verb& app, Session& session);
void add_vm(const Verb& app, Session& session);
void add_host(const Verb& app, Session& session);
void add_hypervisor(const Verb& app, Session& session);
void add_image(const Verb& app, Session& session);
void add_job(const Verb& app, Session& session);
void add_event(const Verb& app, Session& session);
void add_server(const Verb& app, Session& session);
void add_completion(const Verb& app, Session& session);

/// What `reeve __complete -- WORD...` prints: the candidates for the last word, one a line. Not a
/// subcommand, because its words are an unfinished command line that must not be parsed.
void print_completions(CLI::App& app, Session& session, const std::vector<std::string>& words);

/// --async and --wait, for a verb that answers with a job.
void add_wait_options(const Verb& verb, ChangeOptions& change);
/// --dry-run, for a verb whose request has validate_only.
void add_dry_run(const Verb& verb, ChangeOptions& change);
/// Both, and --request-id, for a verb that makes one.
void add_change_options(const Verb& verb, ChangeOptions& change);

}  // namespace reeve::cli
