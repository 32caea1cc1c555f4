// cli/watch.h - prints changes as they happen, resuming by revision when the server restarts.
#pragma once

#include <set>

#include "cli/select.h"
#include "cli/session.h"

namespace reeve::cli {

struct WatchOptions {
  std::vector<std::string> kinds{};  ///< empty: all
  bool progress = false;
  std::int64_t from_revision = -1;
  /// Of the list that was shown before; only what matches it is printed, and once more what has
  /// ceased to. Empty: everything. Costs one call an event.
  std::string filter{};
  /// Resource names in that list.
  std::set<std::string> shown{};
};

/// Goes on from a list: its kind, revision, filter and what it held.
template <class T>
WatchOptions watch_from(std::string kind, const Listed<T>& listed, const std::string& filter) {
  WatchOptions options{
      .kinds = {std::move(kind)}, .from_revision = listed.revision, .filter = filter};
  if (!filter.empty())
    for (const auto& item : listed.items) options.shown.insert(item.name());
  return options;
}

/// Runs until Ctrl-C or an error that a retry does not cure. A gap in the feed is printed as such.
Status watch(Session& session, WatchOptions options);

/// One line (or one document) per event.
std::string render_event(const v1::Event& event, Format format);

}  // namespace reeve::cli
