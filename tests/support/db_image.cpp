#include "tests/support/db_image.h"

#include "base/check.h"
#include "db/sqlite/migrate.h"

namespace reeve::test {

const FaultDisk::Image& migrated_image() {
  static const FaultDisk::Image image = [] {
    FaultDisk disk;
    {
      auto database = db::Database::open(kDatabasePath, {.vfs = disk.vfs()});
      REEVE_CHECK(database.ok());
      REEVE_CHECK(db::migrate(*database.value(), db::embedded_migrations()).ok());
    }
    return disk.image();
  }();
  return image;
}

}  // namespace reeve::test
