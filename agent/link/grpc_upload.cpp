#include "agent/link/grpc_upload.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>

#include "agent/link/grpc_error.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "reeve/agent/v1/link_service.grpc.pb.h"

namespace reeve::agent {
namespace {

constexpr std::size_t kMaxHeld = 4;

class Upload final : public grpc::ClientReadReactor<v1::ReceiveUploadResponse> {
 public:
  static std::shared_ptr<Upload> begin(const std::shared_ptr<grpc::Channel>& channel,
                                       const std::string& ticket) {
    auto upload = std::shared_ptr<Upload>(new Upload(channel));
    upload->self_ = upload;
    upload->request_.set_ticket(ticket);
    upload->stub_->async()->ReceiveUpload(&upload->context_, &upload->request_, upload.get());
    upload->AddHold();
    upload->StartRead(&upload->incoming_);
    upload->StartCall();
    return upload;
  }

  Result<std::size_t> read(std::span<std::byte> into) {
    Lock lock(mutex_);
    const auto deadline = RealClock::instance().monotonic() + kUploadSilence;
    while (pieces_.empty() && !status_) {
      const auto left = deadline - RealClock::instance().monotonic();
      if (left.count() <= 0)
        return Error{Code::Aborted, "UPLOAD_INTERRUPTED",
                     "no byte of the upload came for half a minute"};
      change_.wait_for(lock, left);
    }
    if (pieces_.empty()) {
      if (status_->ok()) return std::size_t{0};
      const Error why = error_of(*status_, "receiving the upload");
      // The client is gone, and nobody comes again with the bytes.
      if (why.reason() == "TICKET_INVALID" || why.reason() == "UPLOAD_INTERRUPTED") return why;
      return Error{Code::Unavailable, "UPLOAD_LOST", why.message()};
    }
    const std::string& piece = pieces_.front();
    const std::size_t n = std::min(into.size(), piece.size() - taken_);
    std::memcpy(into.data(), piece.data() + taken_, n);
    taken_ += n;
    if (taken_ == piece.size()) {
      pieces_.pop_front();
      taken_ = 0;
      if (!reading_ && !ended_) {
        reading_ = true;
        StartRead(&incoming_);
      }
    }
    return n;
  }
  void leave() {
    context_.TryCancel();
    end();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return end();
    Lock lock(mutex_);
    if (!incoming_.data().empty()) pieces_.push_back(std::move(*incoming_.mutable_data()));
    incoming_.Clear();
    change_.notify_one();
    reading_ = pieces_.size() < kMaxHeld && !ended_;
    if (reading_) StartRead(&incoming_);
  }
  void OnDone(const grpc::Status& status) override {
    const auto self = std::move(self_);
    Lock lock(mutex_);
    status_ = status;
    change_.notify_one();
  }

 private:
  explicit Upload(const std::shared_ptr<grpc::Channel>& channel)
      : channel_(channel), stub_(v1::LinkService::NewStub(channel)) {}
  void end() {
    {
      Lock lock(mutex_);
      if (std::exchange(ended_, true)) return;
    }
    RemoveHold();
  }

  std::shared_ptr<Upload> self_{};
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::LinkService::Stub> stub_;
  grpc::ClientContext context_{};
  v1::ReceiveUploadRequest request_{};
  v1::ReceiveUploadResponse incoming_{};
  Mutex mutex_;
  CondVar change_;
  std::deque<std::string> pieces_ REEVE_GUARDED_BY(mutex_);
  std::size_t taken_ REEVE_GUARDED_BY(mutex_) = 0;
  bool reading_ REEVE_GUARDED_BY(mutex_) = true;
  bool ended_ REEVE_GUARDED_BY(mutex_) = false;
  std::optional<grpc::Status> status_ REEVE_GUARDED_BY(mutex_);
};

class UploadSource final : public ByteSource {
 public:
  explicit UploadSource(std::shared_ptr<Upload> upload) : upload_(std::move(upload)) {}
  ~UploadSource() override { upload_->leave(); }
  Result<std::size_t> read(std::span<std::byte> into) override { return upload_->read(into); }

 private:
  const std::shared_ptr<Upload> upload_;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_upload(const std::shared_ptr<grpc::Channel>& channel,
                                                const std::string& ticket) {
  return std::unique_ptr<ByteSource>(
      std::make_unique<UploadSource>(Upload::begin(channel, ticket)));
}

}  // namespace reeve::agent
