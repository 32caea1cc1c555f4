// cli/commands/commands.h - one function per noun, each adds its verbs to the command line.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/session.h"

namespace reeve::cli {

void add_login(CLI::App& app, Session& session);
void add_vm(CLI::App& app, Session& session);
void add_host(CLI::App& app, Session& session);
void add_image(CLI::App& app, Session& session);
void add_job(CLI::App& app, Session& session);
void add_event(CLI::App& app, Session& session);
void add_server(CLI::App& app, Session& session);
void add_completion(CLI::App& app, Session& session);

/// What `reeve __complete -- WORD...` prints: the candidates for the last word, one a line. Not a
/// subcommand, because its words are an unfinished command line that must not be parsed.
void print_completions(CLI::App& app, Session& session, const std::vector<std::string>& words);

/// --async, --wait, --dry-run and --request-id, for a verb that makes a job.
void add_change_options(CLI::App& verb, ChangeOptions& change);

}  // namespace reeve::cli
