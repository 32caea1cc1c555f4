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

/// `a=b` pairs into a map. InvalidArgument/USAGE.
Status parse_labels(const std::vector<std::string>& texts,
                    google::protobuf::Map<std::string, std::string>& labels);
/// "512M", "2G", "1T", "4096" (MiB when no unit is given and `unit` is 'M'; bytes otherwise).
/// InvalidArgument/USAGE.
Result<std::int64_t> parse_size_bytes(const std::string& text, char unit);
/// Reads a file, or stdin for "-"; at most `limit` bytes.
Result<std::string> read_input(const std::string& path, std::size_t limit);
/// Asks "question [y/N]" on the terminal. InvalidArgument/USAGE when there is none and `yes` is not
/// set.
Status confirm(const std::string& question, bool yes);

}  // namespace reeve::cli
