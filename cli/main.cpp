// cli/main.cpp - parses the command line, runs the action, turns the outcome into an exit code.
#include <clocale>
#include <csignal>

#include <CLI/CLI.hpp>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/words.h"
#include "cli/exit_code.h"
#include "cli/option_names.h"
#include "cli/output/format.h"

namespace reeve::cli {
namespace {

/// For people: message, numbers, remedy. With a machine format: one JSON object on stderr.
void report(const Error& error, bool machine) {
  if (!machine) {
    note("error: " + error.message() + " (" + std::string(error.reason()) + ")");
    for (const auto& [key, value] : error.metadata())
      if (error.message().find(value) == std::string::npos)
        note("  " + in_options(key) + ": " + printable(value));
    if (!error.remedy().empty()) note("  remedy: " + error.remedy());
    return;
  }
  const auto quoted = [](std::string_view text) {
    std::string out = "\"";
    append_json_escaped(out, text);
    return out + "\"";
  };
  std::string json = "{\"code\":" + std::to_string(static_cast<int>(error.code())) +
                     ",\"exit_code\":" + std::to_string(static_cast<int>(exit_code_of(error))) +
                     ",\"reason\":" + quoted(error.reason()) +
                     ",\"message\":" + quoted(error.message()) +
                     ",\"remedy\":" + quoted(error.remedy()) +
                     ",\"resource\":" + quoted(error.resource()) + ",\"metadata\":{";
  bool first = true;
  for (const auto& [key, value] : error.metadata())
    json += (std::exchange(first, false) ? "" : ",") + quoted(key) + ":" + quoted(value);
  note(json + "}}");
}

/// A command line that cannot be understood: what is wrong with its commands comes before what is
/// wrong with their options.
int refuse(CLI::App& app, const std::vector<std::string>& words, const std::string& why) {
  const Walk at = walk(app, words);
  const char* usual = std::getenv("REEVE_OUTPUT");
  const auto output = at.values.find("--output");
  const auto format = parse_format(output != at.values.end() ? output->second
                                   : usual != nullptr        ? usual
                                                             : "table");
  const auto command = wrong_command(at);
  const auto path = path_of(*at.level);
  const Error error = Error(Code::InvalidArgument, "USAGE", command.empty() ? why : command)
                          .remedy("see: reeve " + path + (path.empty() ? "" : " ") + "--help");
  report(error, format.ok() && (format.value() == Format::Json || format.value() == Format::Yaml));
  return static_cast<int>(exit_code_of(error));
}

int main_with(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app{"Reeve runs a mixed estate of virtual machines."};
  app.name("reeve");
  app.require_subcommand(1);
  app.set_version_flag("--version", "reeve " REEVE_VERSION);
  app.fallthrough();
  Session session;
  app.add_option("-o,--output", session.format_text, "table, wide, json, yaml, csv or name")
      ->envname("REEVE_OUTPUT");
  app.add_option("--context", session.context_name,
                 "Server to talk to (default: the one logged in to last)")
      ->envname("REEVE_CONTEXT");
  app.add_flag("--debug", session.debug, "Print every call to stderr");
  const Verb verbs(app);
  add_login(verbs, session);
  add_host(verbs, session);
  add_hypervisor(verbs, session);
  add_vm(verbs, session);
  add_image(verbs, session);
  add_job(verbs, session);
  add_event(verbs, session);
  add_server(verbs, session);
  add_completion(verbs, session);
  app.footer(
      "Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 conflict, 5 permission, 6 "
      "unreachable,\n"
      "7 wait timeout, 8 partial failure, 9 job failed, 10 job parked, 130 interrupted.");
  if (argc >= 3 && std::string_view(argv[1]) == "__complete" && std::string_view(argv[2]) == "--") {
    print_completions(app, session, {argv + 3, argv + argc});
    return 0;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return refuse(app, {argv + 1, argv + argc}, error.what());
  }
  const auto format = session.format();
  const bool machine =
      format.ok() && (format.value() == Format::Json || format.value() == Format::Yaml);
  const Status outcome = format.ok() ? session.action() : Status(format.error());
  flush_output();
  if (outcome.ok()) return 0;
  report(outcome.error(), machine);
  return static_cast<int>(exit_code_of(outcome.error()));
}

}  // namespace
}  // namespace reeve::cli

int main(int argc, char** argv) {
  return reeve::cli::main_with(argc, argv);
}
