#include "server/core/housekeeping.h"

#include "base/log.h"
#include "db/repo/feed_repo.h"
#include "db/repo/job_repo.h"
#include "db/repo/request_repo.h"

namespace reeve::server {

namespace {
constexpr std::chrono::minutes kEvery{10};
constexpr int kRowsAtOnce = 500;
}  // namespace

Housekeeping::~Housekeeping() {
  if (timer_ != 0) parts_.loop->cancel(timer_);
}

void Housekeeping::start() {
  timer_ = parts_.loop->post_after(kEvery, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) round();
  });
}

void Housekeeping::round() {
  const WallTime now = parts_.loop->clock().wall();
  const WallTime old_jobs = now - parts_.settings.job_retention;
  const WallTime old_history = now - parts_.settings.history_retention;
  auto floor = std::make_shared<std::int64_t>(0);
  parts_.writer->submit(
      [now, old_jobs, old_history, floor](db::Transaction& tx) -> Status {
        TRY(db::RequestRepo(tx).remove_expired(now, kRowsAtOnce));
        TRY(db::JobRepo(tx).remove_finished_before(old_jobs, kRowsAtOnce));
        *floor = TRY(db::FeedRepo(tx).revision_before(old_history));
        return {};
      },
      [this, alive = std::weak_ptr<bool>(alive_), &loop = *parts_.loop, floor](
          const Status& outcome, std::int64_t) {
        if (!outcome.ok()) return log::warning("housekeeping failed", outcome.error());
        if (*floor <= 0) return;
        loop.post([this, alive, floor] {
          if (!alive.expired()) compact(*floor, 0);
        });
      });
  start();
}

void Housekeeping::compact(std::int64_t floor, std::int64_t cursor) {
  auto next = std::make_shared<std::int64_t>(0);
  parts_.writer->submit(
      [floor, cursor, next](db::Transaction& tx) -> Status {
        *next = TRY(db::FeedRepo(tx).compact(floor, cursor, kRowsAtOnce));
        return {};
      },
      [this, alive = std::weak_ptr<bool>(alive_), &loop = *parts_.loop, floor, next](
          const Status& outcome, std::int64_t) {
        if (!outcome.ok()) return log::warning("history not compacted", outcome.error());
        if (*next == 0) return;
        loop.post([this, alive, floor, next] {
          if (!alive.expired()) compact(floor, *next);
        });
      });
}

}  // namespace reeve::server
