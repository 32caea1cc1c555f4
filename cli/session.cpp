#include "cli/session.h"

#include <cstdio>

#include "base/random.h"
#include "base/uuid.h"

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

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}
void note(std::string_view text) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

}  // namespace reeve::cli
