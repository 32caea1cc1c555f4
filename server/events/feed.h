// server/events/feed.h - the EventFeed: fans committed versions out to watchers.
//
// A watcher that is behind is fed from the database at its own pace; one that has caught up gets
// what each commit brings. Every event carries its revision, and no watcher is given one at or
// below what it has seen, so the two ways can overlap without repeating or skipping anything.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/loop.h"
#include "db/readers.h"
#include "server/events/event_feed.h"
#include "server/events/render.h"
#include "server/events/watch_queue.h"

namespace reeve::server {

/// All of it outlives the feed.
struct FeedParts {
  Loop& loop;  ///< may block on database reads
  db::Readers& readers;
  std::size_t queue_capacity = 1024;
  std::chrono::milliseconds bookmark_every{15'000};
};

class Feed final : public EventFeed {
 public:
  explicit Feed(FeedParts parts);
  ~Feed() override;

  Result<std::unique_ptr<Watch>> watch(const Caller& caller, const v1::WatchRequest& request,
                                       std::function<void()> ready) override;
  Result<v1::ListEventsResponse> list(const Caller& caller,
                                      const v1::ListEventsRequest& request) override;

  /// Any thread: something was committed.
  void on_commit();
  /// Any thread: a job moved. Reaches those who asked for progress, unless they are behind.
  void on_progress(const v1::Job& job);
  /// Ends every watch with Unavailable/SERVER_STOPPING. Feed's loop.
  void stop();

 private:
  struct Watcher {
    std::shared_ptr<WatchQueue> queue{};
    std::vector<db::ObjectKind> kinds{};
    PermissionSet permissions{};
    bool progress = false;
    bool live = false;           ///< has caught up
    std::int64_t position = 0;   ///< last revision it has been given or needs not
    bool told_anything = false;  ///< since the last bookmark round
  };
  class Handle;
  using Watchers = std::map<std::uint64_t, Watcher>;

  void post(Task task);
  void wake(std::uint64_t id);
  void pump();
  bool fan_out();
  void catch_up(Watcher& watcher);
  void send_gap(Watcher& watcher);
  bool push(Watcher& watcher, WatchQueue::Item item);
  void bookmarks();
  void sweep();
  bool wants(const Watcher& watcher, db::ObjectKind kind) const;

  FeedParts parts_;
  std::atomic<bool> pump_posted_{false};
  std::atomic<std::uint64_t> next_id_{1};
  Watchers watchers_{};
  std::int64_t head_ = 0;  ///< fanned out up to here
  bool head_known_ = false;
  bool stopped_ = false;
  TimerId timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace reeve::server
