// server/api/watch_stream.h - one Watch call: writes events as fast as the client reads them.
//
// One write is under way at a time; events wait in the feed meanwhile, which ends a watch that
// falls too far behind.
#pragma once

#include <memory>
#include <optional>

#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "reeve/v1/event_service.pb.h"
#include "server/api/admission.h"
#include "server/events/event_feed.h"

namespace reeve::server {

/// Owns itself until OnDone.
class WatchStream final : public grpc::ServerWriteReactor<v1::WatchResponse>,
                          public OpenCall,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  static std::shared_ptr<WatchStream> create(std::unique_ptr<Admission> admission, EventFeed& feed,
                                             const v1::WatchRequest& request);
  void stop(const Error& error) override;

 private:
  explicit WatchStream(std::unique_ptr<Admission> admission) : admission_(std::move(admission)) {}

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  /// Writes the next event if there is one and nothing is being written.
  void advance();
  struct Due {
    std::shared_ptr<const v1::Event> event{};  ///< null: the end
    std::optional<Error> error{};
  };
  /// What to do next; nothing when everything was done, which gives `busy_` back.
  std::optional<Due> next();
  void end(const Error& error);

  const std::unique_ptr<Admission> admission_;
  std::shared_ptr<WatchStream> self_;  // until OnDone
  std::unique_ptr<Watch> watch_;       // used by whoever holds busy_; gone in OnDone
  v1::WatchResponse writing_;          // belongs to gRPC while a write is under way
  Mutex mutex_;
  bool busy_ REEVE_GUARDED_BY(mutex_) = true;    ///< a write is under way or being prepared
  bool again_ REEVE_GUARDED_BY(mutex_) = false;  ///< the feed may have more than was taken
  bool finished_ REEVE_GUARDED_BY(mutex_) = false;
  std::optional<Error> stopping_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
