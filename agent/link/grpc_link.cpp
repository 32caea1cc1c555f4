#include "agent/link/grpc_link.h"

#include <deque>

#include "agent/link/grpc_error.h"
#include "agent/link/grpc_upload.h"
#include "reeve/agent/v1/link_service.grpc.pb.h"

namespace reeve::agent {
namespace {

constexpr std::size_t kMaxBacklog = 100'000;

/// Holds what is sent until there is a channel. Once begun it lives until gRPC says OnDone: `self_`
/// keeps it until then, the Connection as long as it likes.
class Stream final : public grpc::ClientBidiReactor<v1::ConnectRequest, v1::ConnectResponse>,
                     public std::enable_shared_from_this<Stream> {
 public:
  explicit Stream(ConnectionEvents events) : events_(std::move(events)) {}

  void begin(const std::shared_ptr<grpc::Channel>& channel) {
    {
      Lock lock(mutex_);
      if (ended_) return;  // the agent has left meanwhile
      begun_ = true;
      self_ = shared_from_this();
      stub_ = v1::LinkService::NewStub(channel);
      stub_->async()->Connect(&context_, this);
      AddHold();
      StartRead(&incoming_);
      if (!queue_.empty()) StartWrite(&queue_.front());
    }
    StartCall();
  }
  void fail(const Error& why) {
    {
      Lock lock(mutex_);
      ended_ = true;
    }
    if (is_heard()) events_.closed(why);
  }
  void send(v1::ConnectRequest message) {
    bool too_many = false;
    {
      Lock lock(mutex_);
      if (ended_) return;
      queue_.push_back(std::move(message));
      if (begun_ && queue_.size() == 1) StartWrite(&queue_.front());
      too_many = queue_.size() > kMaxBacklog;
    }
    if (too_many) context_.TryCancel();
  }
  std::size_t backlog() const {
    Lock lock(mutex_);
    return queue_.size();
  }
  /// The agent ends it: no more events.
  void leave() {
    {
      Lock lock(mutex_);
      left_ = true;
    }
    context_.TryCancel();
    end();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return end();
    if (is_heard()) events_.received(incoming_);
    incoming_.Clear();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    Lock lock(mutex_);
    if (!queue_.empty()) queue_.pop_front();
    if (ok && !ended_ && !queue_.empty()) StartWrite(&queue_.front());
  }
  void OnDone(const grpc::Status& status) override {
    const auto self = std::move(self_);
    if (!is_heard()) return;
    events_.closed(status.ok()
                       ? Error{Code::Unavailable, "SERVER_CLOSED", "the server ended the link"}
                       : error_of(status, "link to the server"));
  }

 private:
  bool is_heard() const {
    Lock lock(mutex_);
    return !left_;
  }
  /// No write begins from outside any more.
  void end() {
    {
      Lock lock(mutex_);
      if (std::exchange(ended_, true) || !begun_) return;
    }
    RemoveHold();
  }

  std::shared_ptr<Stream> self_{};
  std::unique_ptr<v1::LinkService::Stub> stub_{};
  grpc::ClientContext context_{};
  const ConnectionEvents events_;
  v1::ConnectResponse incoming_{};
  mutable Mutex mutex_;
  std::deque<v1::ConnectRequest> queue_ REEVE_GUARDED_BY(mutex_);
  bool begun_ REEVE_GUARDED_BY(mutex_) = false;
  bool ended_ REEVE_GUARDED_BY(mutex_) = false;
  bool left_ REEVE_GUARDED_BY(mutex_) = false;
};

class GrpcConnection final : public Connection {
 public:
  explicit GrpcConnection(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~GrpcConnection() override { stream_->leave(); }
  void send(v1::ConnectRequest message) override { stream_->send(std::move(message)); }
  std::size_t backlog() const override { return stream_->backlog(); }

 private:
  const std::shared_ptr<Stream> stream_;
};

}  // namespace

GrpcLink::GrpcLink(const IdentityFiles& files, std::string address)
    : files_(files), address_(std::move(address)) {
  keep_callback_threads();
}

std::unique_ptr<Connection> GrpcLink::connect(ConnectionEvents events) {
  auto stream = std::make_shared<Stream>(std::move(events));
  opener_.run([this, stream] {
    const auto credentials = files_.credentials();
    if (!credentials.ok()) return stream->fail(credentials.error());
    auto channel = open_channel(address_, credentials.value());
    {
      Lock lock(mutex_);
      channel_ = channel;
    }
    stream->begin(channel);
  });
  return std::make_unique<GrpcConnection>(std::move(stream));
}

std::shared_ptr<grpc::Channel> GrpcLink::channel() const {
  Lock lock(mutex_);
  return channel_;
}

Result<std::unique_ptr<ByteSource>> GrpcLink::open(const std::string& ticket) {
  const auto current = channel();
  if (!current)
    return Error{Code::Unavailable, "UPLOAD_LOST", "there is no connection to the server"};
  return open_upload(current, ticket);
}

}  // namespace reeve::agent
