// server/events/event_feed.h - streams committed changes to watchers, and lists past ones.
//
//   watch = feed.watch(caller, request, [reactor] { reactor->on_ready(); });
//   // in on_ready and after each finished write:
//   while (auto event = watch->take()) write(*event);
//   if (watch->end()) finish(*watch->end());
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/status.h"
#include "reeve/v1/event_service.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

/// One stream. Any thread. Destroying it ends the watch; `ready` is not called afterwards.
class Watch {
 public:
  virtual ~Watch() = default;
  /// The next event, or null when none waits now: then `ready` is called once when there is one.
  virtual std::shared_ptr<const v1::Event> take() = 0;
  /// Why the watch has ended, once take() has given all that was before: ResourceExhausted/
  /// WATCH_TOO_SLOW, Unavailable/SERVER_STOPPING. Nothing while it goes on.
  virtual std::optional<Error> end() const = 0;
};

class EventFeed {
 public:
  virtual ~EventFeed() = default;

  /// Any thread. `ready` is called on the feed's thread: when take() may have something after it
  /// gave null, or when the watch has ended. It must not block and must not destroy the watch in
  /// place. InvalidArgument/BAD_FIELD for unknown kinds or a revision that was never given out.
  virtual Result<std::unique_ptr<Watch>> watch(const Caller& caller,
                                               const v1::WatchRequest& request,
                                               std::function<void()> ready) = 0;
  /// Any thread; reads a snapshot.
  virtual Result<v1::ListEventsResponse> list(const Caller& caller,
                                              const v1::ListEventsRequest& request) = 0;
};

}  // namespace reeve::server
