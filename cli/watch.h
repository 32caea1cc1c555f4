// cli/watch.h - prints changes as they happen, resuming by revision when the server restarts.
#pragma once

#include "cli/session.h"

namespace reeve::cli {

struct WatchOptions {
  std::vector<std::string> kinds{};  ///< empty: all
  bool progress = false;
  std::int64_t from_revision = -1;
};

/// Runs until Ctrl-C or an error that a retry does not cure. A gap in the feed is printed as such.
Status watch(Session& session, const WatchOptions& options);

/// One line (or one document) per event.
std::string render_event(const v1::Event& event, Format format);

}  // namespace reeve::cli
