// server/link/upload_hub.h - pairs a client's UploadImage with the agent's ReceiveUpload, by
// ticket.
//
// Either may come first. Any thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/mutex.h"
#include "server/rpc/pipe.h"

namespace reeve::server {

/// One upload under way, shared by both streams.
struct Upload {
  static constexpr std::size_t kBufferBytes = 4u << 20;
  std::string ticket{};
  std::string host_uid{};
  Pipe data{kBufferBytes};  ///< client to agent
  bool has_client = false;  ///< guarded by the hub
  bool has_agent = false;   ///< guarded by the hub
};

class UploadHub {
 public:
  /// `loop` is the core loop; it outlives the hub.
  explicit UploadHub(Loop& loop) : loop_(loop), self_(std::make_shared<UploadHub*>(this)) {}
  ~UploadHub() { *self_ = nullptr; }
  UploadHub(const UploadHub&) = delete;
  UploadHub& operator=(const UploadHub&) = delete;

  /// The client's end. Aborted/UPLOAD_TWICE when a client is or was there. If no agent comes, the
  /// pipe is abandoned with Unavailable/HOST_UNREACHABLE.
  Result<std::shared_ptr<Upload>> send(const std::string& ticket, const std::string& host_uid);
  /// The agent's end. NotFound/TICKET_UNKNOWN when the ticket is used or another host's,
  /// ResourceExhausted/TOO_MANY_UPLOADS. If no client comes, the pipe ends with
  /// Aborted/UPLOAD_INTERRUPTED.
  Result<std::shared_ptr<Upload>> receive(const std::string& ticket, const std::string& host_uid);
  /// The agent's stream is over: the ticket is spent.
  void leave(const std::shared_ptr<Upload>& upload);
  /// The client's call is over: the ticket can be used again if no agent has come.
  void client_left(const std::shared_ptr<Upload>& upload);

 private:
  static constexpr auto kAgentTimeout = std::chrono::seconds(60);
  static constexpr auto kClientTimeout = std::chrono::minutes(10);
  static constexpr std::size_t kWaitingPerHost = 16;
  void expire(const std::string& ticket, bool wants_agent);

  Loop& loop_;
  const std::shared_ptr<UploadHub*>
      self_;  // null for timers that outlive the hub; read on the loop
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Upload>, std::less<>> uploads_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
