#include "db/store.h"

#include "db/sqlite/error.h"
#include "db/sqlite/lock.h"

namespace reeve::db {

Result<std::unique_ptr<Store>> Store::open(const StoreOptions& options) {
  std::unique_ptr<Store> store(new Store(options));
  if (options.vfs.empty()) store->lock_ = TRY(lock_database(options.path));
  store->writer_ = TRY(Database::open(options.path, {.vfs = options.vfs}));

  const auto migrations = embedded_migrations();
  const int newest = migrations.back().number;
  const int schema = TRY(check_schema(*store->writer_, newest));
  store->schema_ = {schema, schema};
  if (options.quick_check) {
    auto checked = store->writer_->quick_check();
    if (!checked.ok()) {
      // Reading goes on as long as this program understands the schema; changing anything does not.
      if (!is_damage(checked.error()) || schema != newest) return std::move(checked).error();
      store->damage_ = std::move(checked).error();
    }
  }
  if (!store->damage_) store->schema_ = TRY(migrate(*store->writer_, migrations));
  store->readers_ = std::make_unique<Readers>(
      options.path, OpenOptions{.access = Access::Read, .vfs = options.vfs}, options.readers);
  return store;
}

Status Store::check() {
  auto database = TRY(Database::open(options_.path, {.access = Access::Read, .vfs = options_.vfs}));
  return database->quick_check();
}

}  // namespace reeve::db
