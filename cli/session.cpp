#include "cli/session.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <unistd.h>

#include "base/random.h"
#include "base/uuid.h"
#include "cli/exit_code.h"

namespace reeve::cli {

Result<Client*> Session::client() {
  if (!client_) {
    const Contexts contexts = TRY(load_contexts(contexts_path()));
    client_ = std::make_unique<Client>(TRY(choose_context(contexts, context_name)), debug);
  }
  return client_.get();
}

std::string Session::request_id() {
  if (change.request_id.empty()) change.request_id = new_uuid(SystemRandom::instance());
  return change.request_id;
}

namespace {

/// What cannot be written is the end: silently when the reader has gone, as for any program in a
/// pipe.
[[noreturn]] void output_lost() {
  const int cause = errno;
  if (cause == EPIPE) ::_exit(128 + SIGPIPE);
  std::fprintf(stderr, "error: writing the output: %s\n", std::strerror(cause));
  ::_exit(static_cast<int>(ExitCode::Failure));
}

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) output_lost();
}
void flush_output() {
  if (std::fflush(stdout) != 0) output_lost();
}
void note(std::string_view text) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

}  // namespace reeve::cli
