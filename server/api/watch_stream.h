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
#include "server/rpc/turn.h"

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
  void advance() {
    if (turn_.take()) pump();
  }
  void pump();
  /// True when a write was begun or the call was ended.
  bool start_write();
  void end(const Error& error);

  const std::unique_ptr<Admission> admission_;
  std::shared_ptr<WatchStream> self_;  // until OnDone
  std::unique_ptr<Watch> watch_;       // used by whoever has the turn; gone in OnDone
  v1::WatchResponse writing_;          // belongs to gRPC while a write is under way
  Turn turn_;
  Mutex mutex_;
  bool finished_ REEVE_GUARDED_BY(mutex_) = false;
  std::optional<Error> stopping_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
