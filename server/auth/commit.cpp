#include "server/auth/commit.h"

#include <future>
#include <memory>

namespace reeve::server {

Status commit_and_wait(db::Writer& writer, db::Writer::Work work) {
  auto outcome = std::make_shared<std::promise<Status>>();
  auto future = outcome->get_future();
  writer.submit(std::move(work),
                [outcome](Status status, std::int64_t) { outcome->set_value(std::move(status)); });
  return future.get();
}

}  // namespace reeve::server
