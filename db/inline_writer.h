// db/inline_writer.h - the Writer of simulations: the same groups, run as tasks of a loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "db/commit_group.h"
#include "db/sqlite/database.h"
#include "db/writer.h"

namespace reeve::db {

/// Everything happens on the loop: submit() queues and posts one task, which commits whatever is
/// queued by then and calls the dones. Not thread-safe. Destroying it drops queued work without its
/// dones, as a crash does.
class InlineWriter final : public Writer {
 public:
  /// `loop` outlives the writer.
  InlineWriter(Loop& loop, std::unique_ptr<Database> database, OnCommit on_commit);
  ~InlineWriter() override;

  void submit(Work work, Done done) override;
  void set_read_only(std::string why) { read_only_reason_ = std::move(why); }
  bool is_read_only() const { return !read_only_reason_.empty(); }

 private:
  void run();

  Loop& loop_;
  std::unique_ptr<Database> database_;
  OnCommit on_commit_;
  std::vector<CommitGroup::Entry> queue_;
  std::string read_only_reason_;
  bool posted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with the posted task
};

}  // namespace reeve::db
