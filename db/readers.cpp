#include "db/readers.h"

namespace reeve::db {

Readers::Readers(std::filesystem::path path, OpenOptions options, std::size_t limit)
    : path_(std::move(path)), options_(std::move(options)), limit_(limit) {}

Readers::~Readers() = default;

Result<std::unique_ptr<Database>> Readers::take() {
  {
    Lock lock(mutex_);
    while (idle_.empty() && open_ >= limit_) idle_cv_.wait(lock);
    if (!idle_.empty()) {
      auto database = std::move(idle_.back());
      idle_.pop_back();
      return database;
    }
    ++open_;
  }
  auto database = Database::open(path_, options_);
  if (!database.ok()) {
    Lock lock(mutex_);
    --open_;
    idle_cv_.notify_one();
  }
  return database;
}

void Readers::give_back(std::unique_ptr<Database> database) {
  Lock lock(mutex_);
  idle_.push_back(std::move(database));
  idle_cv_.notify_one();
}

}  // namespace reeve::db
