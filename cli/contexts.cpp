#include "cli/contexts.h"

#include <cstdlib>
#include <sstream>

#include <sys/stat.h>
#include <toml++/toml.h>

#include "base/file.h"

namespace reeve::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::filesystem::path contexts_path() {
  if (const auto path = environment("REEVE_CONFIG"); !path.empty()) return path;
  std::filesystem::path base = environment("XDG_CONFIG_HOME");
  if (base.empty()) base = std::filesystem::path(environment("HOME")) / ".config";
  return base / "reeve" / "contexts.toml";
}

Result<Contexts> load_contexts(const std::filesystem::path& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return Contexts{};
  if ((st.st_mode & 077) != 0)
    return Error(Code::PermissionDenied, "CONTEXTS_EXPOSED",
                 "'" + path.string() + "' holds tokens and can be read by others")
        .remedy("chmod 600 '" + path.string() + "'");
  const std::string text = TRY(read_file(path));
  try {
    const toml::table table = toml::parse(text);
    Contexts contexts;
    contexts.current = table["current"].value_or(std::string());
    if (const auto* list = table["context"].as_table())
      for (const auto& [name, entry] : *list) {
        const auto* fields = entry.as_table();
        if (!fields) continue;
        contexts.by_name[std::string(name.str())] = {.server = (*fields)["server"].value_or(""),
                                                     .token = (*fields)["token"].value_or(""),
                                                     .ca_pem = (*fields)["ca"].value_or("")};
      }
    return contexts;
  } catch (const toml::parse_error& error) {
    return Error(Code::InvalidArgument, "BAD_CONTEXTS",
                 "'" + path.string() + "': " + std::string(error.description()))
        .remedy("repair or remove the file and log in again");
  }
}

Status save_contexts(const std::filesystem::path& path, const Contexts& contexts) {
  toml::table list;
  for (const auto& [name, context] : contexts.by_name)
    list.insert(
        name,
        toml::table{{"server", context.server}, {"token", context.token}, {"ca", context.ca_pem}});
  std::ostringstream out;
  out << toml::table{{"current", contexts.current}, {"context", list}} << '\n';
  TRY(make_dirs(path.parent_path()));
  return write_file_durably(path, out.str(), 0600);
}

Result<Context> find_context(const Contexts& contexts, std::string_view name) {
  const auto it = contexts.by_name.find(name);
  if (it != contexts.by_name.end()) return it->second;
  std::string known;
  for (const auto& [other, context] : contexts.by_name)
    known += (known.empty() ? "" : ", ") + other;
  return Error(Code::NotFound, "CONTEXT_NOT_FOUND", "no context '" + std::string(name) + "'")
      .remedy(known.empty() ? "there are none: reeve login SERVER:PORT --token-file FILE"
                            : "there are: " + known);
}

Result<Context> choose_context(const Contexts& contexts, std::string_view name) {
  if (name.empty()) name = contexts.current;
  if (name.empty())
    return Error(Code::Unauthenticated, "NOT_LOGGED_IN",
                 contexts.by_name.empty() ? "not logged in to any server"
                                          : "no context is the current one")
        .remedy(contexts.by_name.empty()
                    ? "reeve login SERVER:PORT --token-file FILE"
                    : "choose one of `reeve context list`: reeve context use NAME");
  Context context = TRY(find_context(contexts, name));
  if (const auto server = environment("REEVE_SERVER"); !server.empty()) context.server = server;
  if (const auto token = environment("REEVE_TOKEN"); !token.empty()) context.token = token;
  return context;
}

}  // namespace reeve::cli
