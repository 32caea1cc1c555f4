// cli/contexts.h - the servers a user has logged in to: one TOML file, mode 0600.
//
// Path: $REEVE_CONFIG, else $XDG_CONFIG_HOME/reeve/contexts.toml, else
// ~/.config/reeve/contexts.toml.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/status.h"

namespace reeve::cli {

/// One server and how to talk to it.
struct Context {
  std::string server{};  ///< "host:port"
  std::string token{};   ///< API token, a secret
  std::string ca_pem{};  ///< the server's CA, pinned at login
};

struct Contexts {
  std::string current{};
  std::map<std::string, Context, std::less<>> by_name{};
};

std::filesystem::path contexts_path();
/// An absent file is no contexts. InvalidArgument/BAD_CONTEXTS when it cannot be read as ours;
/// PermissionDenied/CONTEXTS_EXPOSED when others may read it.
Result<Contexts> load_contexts(const std::filesystem::path& path);
Status save_contexts(const std::filesystem::path& path, const Contexts& contexts);
/// The named context. NotFound/CONTEXT_NOT_FOUND listing those there are.
Result<Context> find_context(const Contexts& contexts, std::string_view name);
/// The named context, or the current one when `name` is empty, with $REEVE_SERVER and $REEVE_TOKEN
/// applied. Unauthenticated/NOT_LOGGED_IN when none is the current one; errors of find_context.
Result<Context> choose_context(const Contexts& contexts, std::string_view name);

}  // namespace reeve::cli
