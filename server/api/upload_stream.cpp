#include "server/api/upload_stream.h"

#include "server/app/errors.h"
#include "server/rpc/status_to_grpc.h"

namespace reeve::server {
namespace {

Error bad(std::string_view field, std::string_view problem) {
  return Error{Code::InvalidArgument, "BAD_FIELD", std::string(field) + " " + std::string(problem)}
      .with("field:" + std::string(field), std::string(problem));
}

Error interrupted(std::string_view why) {
  return {Code::Aborted, "UPLOAD_INTERRUPTED", "the upload was interrupted: " + std::string(why)};
}

Status outcome_of(const v1::Job& job, const Status& otherwise) {
  if (job.state() == v1::Job::STATE_SUCCEEDED) return {};
  if (job.has_error()) return to_error(job.error()).resource(job.name());
  return otherwise;
}

}  // namespace

std::shared_ptr<UploadStream> UploadStream::create(std::unique_ptr<Admission> admission,
                                                   const Parts& parts,
                                                   v1::UploadImageResponse* response) {
  std::shared_ptr<UploadStream> stream(new UploadStream(std::move(admission), parts, response));
  stream->self_ = stream;
  stream->read_turn_.take();
  stream->StartRead(&stream->reading_);
  return stream;
}

Status UploadStream::open() {
  TRY(check_size(reading_));
  if (reading_.kind_case() != v1::UploadImageRequest::kJob)
    return bad("job", "is not in the first message");
  job_name_ = reading_.job();
  const auto expected = TRY(parts_.images->expected_upload(job_name_));
  size_bytes_ = expected.size_bytes;
  upload_ = TRY(parts_.uploads->send(expected.ticket, expected.host_uid));
  upload_->data.on_writable([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->read_on();
  });
  follow_job();
  return {};
}

Status UploadStream::take_data() {
  if (reading_.kind_case() != v1::UploadImageRequest::kData) return bad("data", "is missing");
  const auto size = reading_.data().size();
  if (size > kMaxChunk) return bad("data", "has more than 1 MiB");
  received_ += static_cast<std::int64_t>(size);
  if (received_ > size_bytes_) return bad("data", "is longer than the import's upload_bytes");
  upload_->data.push({.bytes = std::move(*reading_.mutable_data())});
  return {};
}

void UploadStream::OnReadDone(bool ok) {
  if (!ok && upload_ == nullptr) return fail(bad("job", "is missing"));
  if (!ok && received_ == size_bytes_) {
    upload_->data.finish({});
    return await_job(interrupted("the host has not stored it yet"), std::chrono::minutes(5));
  }
  if (!ok) return fail(interrupted("the client stopped sending"));
  if (auto status = upload_ == nullptr ? open() : take_data(); !status.ok())
    return fail(std::move(status).error());
  pump();
}

void UploadStream::pump() {
  do {
    if (const auto why = upload_->data.abandoned())
      return await_job(*why, std::chrono::seconds(30));
    if (!upload_->data.is_writable()) continue;
    Lock lock(mutex_);
    if (!finished_) StartRead(&reading_);
    return;
  } while (!read_turn_.give_back());
}

/// A job may end before its host has asked for the bytes: the client must not wait for that.
void UploadStream::follow_job() {
  wait_for_job(std::chrono::minutes(5), [](UploadStream& self, const Result<v1::Job>& job) {
    if (!job.ok()) return;
    const auto state = job.value().state();
    if (state == v1::Job::STATE_RUNNING || state == v1::Job::STATE_ROLLING_BACK)
      return self.follow_job();
    if (state != v1::Job::STATE_PARKED)
      self.finish(outcome_of(job.value(), interrupted("the job has ended")));
  });
}

void UploadStream::await_job(const Status& otherwise, std::chrono::seconds patience) {
  {
    Lock lock(mutex_);
    if (finished_ || waiting_) return;
    waiting_ = true;
  }
  wait_for_job(patience, [otherwise](UploadStream& self, const Result<v1::Job>& job) {
    self.finish(job.ok() ? outcome_of(job.value(), otherwise) : Status(job.error()));
  });
}

void UploadStream::wait_for_job(std::chrono::seconds patience, JobHeard then) {
  v1::WaitJobRequest request;
  request.set_name(job_name_);
  request.mutable_timeout()->set_seconds(patience.count());
  // Weak: the wait may outlast the call.
  parts_.jobs->wait(admission_->caller(), request,
                    [weak = weak_from_this(), then = std::move(then),
                     loop = parts_.reply_loop](const Result<v1::Job>& job) {
                      loop->post([weak, then, job] {
                        if (const auto self = weak.lock()) then(*self, job);
                      });
                    });
}

void UploadStream::OnCancel() {
  fail(interrupted("the client hung up"));
}

void UploadStream::fail(const Error& error) {
  if (upload_ != nullptr) upload_->data.finish(error);
  finish(error);
}

void UploadStream::finish(const Status& status) {
  {
    Lock lock(mutex_);
    if (finished_) return;
    finished_ = true;
  }
  if (status.ok()) response_->set_stored_bytes(received_);
  admission_->record({.status = status, .resource = job_name_}, {}, [] {});
  Finish(to_grpc(status));
}

void UploadStream::OnDone() {
  if (upload_ != nullptr) {
    upload_->data.finish(interrupted("the client is gone"));
    parts_.uploads->client_left(upload_);
  }
  self_.reset();
}

}  // namespace reeve::server
