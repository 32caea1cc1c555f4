// db/store.h - opens a database file for a daemon or a simulation: lock, migrate, check,
// connections.
//
//   auto store = TRY(Store::open({.path = "/var/lib/reeve/reeve.db"}));
//   GroupWriter writer(store->take_writer_connection(), on_commit);
//   if (store->damage()) writer.set_read_only(store->damage()->message());
//   auto vms = store->readers().read([](ReadTransaction& tx) { return VmReader(tx).list(...); });
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/status.h"
#include "db/readers.h"
#include "db/sqlite/database.h"
#include "db/sqlite/migrate.h"

namespace reeve::db {

struct StoreOptions {
  std::filesystem::path path{};
  std::string
      vfs{};  ///< a simulation's file system; empty for the real one, which also locks the file
  std::size_t readers = 4;
  bool quick_check = true;
};

class Store {
 public:
  /// FailedPrecondition/DB_IN_USE when another process has it; migrate()'s errors. A damaged
  /// database opens, if it opens at all, with damage() set: reads go on, writes must be refused.
  static Result<std::unique_ptr<Store>> open(const StoreOptions& options);

  /// The writing connection, once.
  std::unique_ptr<Database> take_writer_connection() { return std::move(writer_); }
  Readers& readers() { return *readers_; }
  const std::optional<Error>& damage() const { return damage_; }
  const SchemaVersions& schema() const { return schema_; }

  /// quick_check on a connection of its own: nightly. Any thread; blocks while it reads everything.
  Status check();

 private:
  explicit Store(StoreOptions options) : options_(std::move(options)) {}

  const StoreOptions options_;
  Fd lock_;
  std::unique_ptr<Database> writer_;
  std::unique_ptr<Readers> readers_;
  std::optional<Error> damage_;
  SchemaVersions schema_{};
};

}  // namespace reeve::db
