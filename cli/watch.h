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

/// An object of a list as the event of its last change.
v1::Event event_of(const v1::VirtualMachine& vm);
v1::Event event_of(const v1::Host& host);
v1::Event event_of(const v1::Image& image);
v1::Event event_of(const v1::Job& job);

/// Goes on from a list: its kind, revision, filter and what it held. The server's error when the
/// filter, good for a list, has no room for the restriction to one object that a watch adds.
template <class T>
Result<WatchOptions> watch_from(Client& client, std::string kind, const Listed<T>& listed,
                                const std::string& filter) {
  WatchOptions options{
      .kinds = {std::move(kind)}, .from_revision = listed.revision, .filter = filter};
  if (filter.empty()) return options;
  v1::Event any = event_of(T());
  any.set_resource("/none");
  auto outcome = matches(client, any, filter);
  if (!outcome.ok())
    return std::move(outcome).error().during("a watch adds a restriction by uid to the filter");
  for (const auto& item : listed.items) options.shown.insert(item.name());
  return options;
}

/// What names the columns of events; empty where a format has none.
std::string event_titles(Format format);
/// One line (or one document) per event, without titles.
std::string render_event(const v1::Event& event, Format format);

/// A list that a watch follows: the list itself for people and by name; for readers of one event
/// after the other its objects as events, and with json the revision they were read at.
template <class T>
std::string render_before_watch(const Listed<T>& listed, const std::vector<Column<T>>& columns,
                                Format format) {
  if (is_for_people(format) || format == Format::Name)
    return render_list(listed.items, columns, format);
  std::string out = event_titles(format);
  for (const auto& item : listed.items) out += render_event(event_of(item), format);
  v1::Event end;
  end.set_revision(listed.revision);
  end.set_type(v1::Event::TYPE_BOOKMARK);
  return format == Format::Json ? out + render_event(end, format) : out;
}

/// Runs until Ctrl-C or an error that a retry does not cure. A gap in the feed is printed as such.
/// Notes an interruption once, and once when it is over.
Status watch(Session& session, WatchOptions options);

}  // namespace reeve::cli
