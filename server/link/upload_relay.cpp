#include "server/link/upload_relay.h"

#include "server/rpc/status_to_grpc.h"

namespace reeve::server {
namespace {

Error host_gone() {
  return {Code::Aborted, "UPLOAD_INTERRUPTED", "the host stopped receiving"};
}

}  // namespace

std::shared_ptr<UploadRelay> UploadRelay::create(const std::string& host_uid,
                                                 const std::string& ticket, UploadHub& hub) {
  std::shared_ptr<UploadRelay> relay(new UploadRelay(hub));
  relay->self_ = relay;
  auto upload = hub.receive(ticket, host_uid);
  if (!upload.ok()) {
    relay->finish(std::move(upload).error());
    return relay;
  }
  relay->upload_ = std::move(upload).value();
  relay->upload_->data.on_readable([weak = relay->weak_from_this()] {
    if (const auto self = weak.lock()) self->write_on();
  });
  relay->write_on();
  return relay;
}

void UploadRelay::pump() {
  do {
    if (auto chunk = upload_->data.pop()) {
      writing_.set_data(std::move(chunk->bytes));
      Lock lock(mutex_);
      if (!finished_) StartWrite(&writing_);
      return;
    }
    if (const auto end = upload_->data.end()) return finish(*end);
  } while (!turn_.give_back());
}

void UploadRelay::OnWriteDone(bool ok) {
  if (!ok) return end(host_gone());
  pump();
}

void UploadRelay::OnCancel() {
  end(host_gone());
}

void UploadRelay::end(const Error& why) {
  if (upload_ != nullptr) upload_->data.abandon(why);
  finish(why);
}

void UploadRelay::finish(const Status& status) {
  {
    Lock lock(mutex_);
    if (finished_) return;
    finished_ = true;
  }
  Finish(to_grpc(status));
}

void UploadRelay::OnDone() {
  if (upload_ != nullptr) hub_.leave(upload_);
  self_.reset();
}

}  // namespace reeve::server
