#include "db/inline_writer.h"

namespace reeve::db {

InlineWriter::InlineWriter(Loop& loop, std::unique_ptr<Database> database, OnCommit on_commit)
    : loop_(loop), database_(std::move(database)), on_commit_(std::move(on_commit)) {}

InlineWriter::~InlineWriter() {
  *alive_ = false;
}

void InlineWriter::submit(Work work, Done done) {
  queue_.push_back({std::move(work), std::move(done)});
  if (posted_) return;
  posted_ = true;
  loop_.post([this, alive = alive_] {
    if (*alive) run();
  });
}

void InlineWriter::run() {
  posted_ = false;
  auto group = std::move(queue_);
  queue_.clear();
  if (is_read_only()) {
    CommitGroup::refuse(group, CommitGroup::read_only_error(read_only_reason_));
    return;
  }
  const auto alive = alive_;  // a done may destroy the writer
  const auto outcome = CommitGroup::run(*database_, group, on_commit_);
  if (*alive && CommitGroup::must_stop_writing(outcome)) set_read_only(outcome.error().message());
}

}  // namespace reeve::db
