// db/repo/meta_repo.h - table `meta`: the few facts about the database itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

class MetaReader {
 public:
  explicit MetaReader(ReadTransaction& tx) : read_(tx) {}
  Result<std::optional<std::string>> text(std::string_view key);
  Result<std::int64_t> integer(std::string_view key);  ///< 0 when absent
  /// Fencing number of the links.
  Result<std::int64_t> epoch() { return integer("epoch"); }

 private:
  ReadTransaction& read_;
};

class MetaRepo : public MetaReader {
 public:
  explicit MetaRepo(Transaction& tx) : MetaReader(tx), tx_(tx) {}
  Status set_text(std::string_view key, std::string_view value);
  Status set_integer(std::string_view key, std::int64_t value);
  /// Grows the fencing number by one: at every start of a server. Returns the new one.
  Result<std::int64_t> next_epoch();
  /// This installation's identity: `fresh_uuid` is stored the first time, later the stored one
  /// returned.
  Result<std::string> server_uid(std::string_view fresh_uuid);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
