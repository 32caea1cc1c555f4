// db/repo/audit_repo.h - table `audit`: an append-only log in which every entry covers the one
// before.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/audit.h"
#include "db/model/filter.h"
#include "db/model/object.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

/// SHA-256 of bytes as lower-case hex; handed in, since cryptography lives elsewhere.
using HashFunction = std::function<std::string(std::string_view bytes)>;

/// The bytes that an entry's hash covers: every field but `hash`, each with its length in front, so
/// that no two entries read the same.
std::string canonical_bytes(const AuditEntry& entry);

class AuditReader {
 public:
  explicit AuditReader(ReadTransaction& tx) : read_(tx) {}

  /// By seq, which is the value of a page's key.
  Result<std::vector<AuditEntry>> list(const Filter& filter, const Page& page);
  /// 0 when there is none.
  Result<std::int64_t> last_seq();
  /// Walks the chain from `from_seq` (1 for all). DataLoss/AUDIT_BROKEN names the first entry that
  /// does not fit. Returns the number of entries checked.
  Result<std::int64_t> verify_chain(const HashFunction& hash, std::int64_t from_seq = 1);

 private:
  ReadTransaction& read_;
};

class AuditRepo : public AuditReader {
 public:
  explicit AuditRepo(Transaction& tx) : AuditReader(tx), tx_(tx) {}

  /// Sets seq, prev_hash and hash; returns the entry as stored.
  Result<AuditEntry> append(AuditEntry entry, const HashFunction& hash);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
