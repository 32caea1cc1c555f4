#include "db/repo/meta_repo.h"

namespace reeve::db {

Result<std::optional<std::string>> MetaReader::text(std::string_view key) {
  return read_.text("SELECT value FROM meta WHERE key = ?", key);
}

Result<std::int64_t> MetaReader::integer(std::string_view key) {
  return TRY(read_.integer("SELECT value FROM meta WHERE key = ?", key)).value_or(0);
}

Status MetaRepo::set_text(std::string_view key, std::string_view value) {
  TRY(tx_.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key, value));
  return {};
}

Status MetaRepo::set_integer(std::string_view key, std::int64_t value) {
  TRY(tx_.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key, value));
  return {};
}

Result<std::int64_t> MetaRepo::next_epoch() {
  const auto next = TRY(epoch()) + 1;
  TRY(set_integer("epoch", next));
  return next;
}

Result<std::string> MetaRepo::server_uid(std::string_view fresh_uuid) {
  if (auto stored = TRY(text("server_uid"))) return *stored;
  TRY(set_text("server_uid", fresh_uuid));
  return std::string(fresh_uuid);
}

}  // namespace reeve::db
