// db/readers.h - a pool of read connections; every read sees one snapshot and never waits for the
// writer.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "db/sqlite/database.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

/// Thread-safe. A caller that finds no idle connection gets a new one up to `limit`, then waits.
class Readers {
 public:
  Readers(std::filesystem::path path, OpenOptions options, std::size_t limit);
  ~Readers();
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  /// Runs `work(ReadTransaction&)` on the calling thread; `work` returns a Result or Status, which
  /// is handed back. Nothing read may be kept as a view. Not nested: that could wait for itself.
  ///
  ///   auto vm = readers.read([&](ReadTransaction& tx) { return VmReader(tx).get(uid); });
  template <class Fn>
  std::invoke_result_t<Fn, ReadTransaction&> read(Fn&& work) {
    auto database = TRY(take());
    const Return back{*this, database};
    auto transaction = TRY(database->begin_read());
    return work(transaction);
  }

 private:
  struct Return {
    Readers& readers;
    std::unique_ptr<Database>& database;
    ~Return() { readers.give_back(std::move(database)); }
  };
  Result<std::unique_ptr<Database>> take();
  void give_back(std::unique_ptr<Database> database);

  const std::filesystem::path path_;
  const OpenOptions options_;
  const std::size_t limit_;
  Mutex mutex_;
  CondVar idle_cv_;
  std::vector<std::unique_ptr<Database>> idle_ REEVE_GUARDED_BY(mutex_);
  std::size_t open_ REEVE_GUARDED_BY(mutex_) = 0;
};

}  // namespace reeve::db
