#include "db/group_writer.h"

#include <algorithm>
#include <iterator>

#include <pthread.h>

#include "base/log.h"

namespace reeve::db {
namespace {

/// Bounds the time until the first of a burst is answered.
constexpr std::size_t kMaxGroup = 512;

}  // namespace

GroupWriter::GroupWriter(std::unique_ptr<Database> database, OnCommit on_commit)
    : database_(std::move(database)), on_commit_(std::move(on_commit)) {
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "db-writer");
}

GroupWriter::~GroupWriter() {
  stop();
}

void GroupWriter::submit(Work work, Done done) {
  {
    Lock lock(mutex_);
    if (!stopping_) {
      queue_.push_back({std::move(work), std::move(done)});
      wake_.notify_one();
      return;
    }
  }
  if (done) done(Error{Code::Cancelled, "DB_CLOSED", "the database is being closed"}, 0);
}

void GroupWriter::set_read_only(std::string why) {
  log::error("database is read-only", {{"why", why}});
  Lock lock(mutex_);
  read_only_reason_ = std::move(why);
  read_only_ = true;
}

std::unique_ptr<Database> GroupWriter::stop() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  return std::move(database_);
}

void GroupWriter::run() {
  std::vector<CommitGroup::Entry> group;
  for (;;) {
    std::string refusal;
    {
      Lock lock(mutex_);
      while (queue_.empty() && !stopping_) wake_.wait(lock);
      if (queue_.empty()) return;
      if (queue_.size() <= kMaxGroup) {
        group.swap(queue_);
      } else {
        const auto end = queue_.begin() + kMaxGroup;
        group.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
        queue_.erase(queue_.begin(), end);
      }
      refusal = read_only_reason_;
    }
    if (!refusal.empty()) {
      CommitGroup::refuse(group, CommitGroup::read_only_error(refusal));
    } else {
      // Counted first: who is answered may look at once.
      works_ += static_cast<std::int64_t>(group.size());
      ++commits_;
      const auto outcome = CommitGroup::run(*database_, group, on_commit_);
      if (CommitGroup::must_stop_writing(outcome)) set_read_only(outcome.error().message());
    }
    group.clear();
  }
}

}  // namespace reeve::db
