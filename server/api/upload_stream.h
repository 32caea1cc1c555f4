// server/api/upload_stream.h - one UploadImage call: the client's end of an upload.
//
// The answer waits for the import job, so that what the agent found (a wrong checksum, a full disk)
// is what the client hears.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "reeve/v1/image_service.pb.h"
#include "server/api/admission.h"
#include "server/app/image_service.h"
#include "server/app/job_service.h"
#include "server/link/upload_hub.h"
#include "server/rpc/turn.h"

namespace reeve::server {

using UploadReader = grpc::ServerReadReactor<v1::UploadImageRequest>;

/// Owns itself until OnDone. Reads only while the agent's pipe has room.
class UploadStream final : public UploadReader,
                           public OpenCall,
                           public std::enable_shared_from_this<UploadStream> {
 public:
  static constexpr std::size_t kMaxChunk = 1u << 20;

  struct Parts {
    ImageService* images = nullptr;
    JobService* jobs = nullptr;
    UploadHub* uploads = nullptr;
    Loop* reply_loop = nullptr;
  };
  /// `response` lives as long as the call.
  static std::shared_ptr<UploadStream> create(std::unique_ptr<Admission> admission,
                                              const Parts& parts,
                                              v1::UploadImageResponse* response);
  void stop(const Error& error) override { fail(error); }

 private:
  UploadStream(std::unique_ptr<Admission> admission, const Parts& parts,
               v1::UploadImageResponse* response)
      : admission_(std::move(admission)), parts_(parts), response_(response) {}

  void OnReadDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  Status open();
  Status take_data();
  void read_on() {
    if (read_turn_.take()) pump();
  }
  void pump();
  /// Ends the call when the job ends.
  void follow_job();
  /// Asks the job how it ended; `otherwise` when it is not over.
  void await_job(const Status& otherwise, std::chrono::seconds patience);
  using JobHeard = std::function<void(UploadStream&, const Result<v1::Job>&)>;
  /// `then`, on the reply loop, with the job when it ends or parks, or as it is after `patience`.
  void wait_for_job(std::chrono::seconds patience, JobHeard then);
  void fail(const Error& error);
  void finish(const Status& status);

  const std::unique_ptr<Admission> admission_;
  const Parts parts_;
  v1::UploadImageResponse* const response_;
  std::shared_ptr<UploadStream> self_;  // until OnDone
  std::shared_ptr<Upload> upload_;      // set by the first message
  std::string job_name_;
  std::int64_t size_bytes_ = 0;
  std::int64_t received_ = 0;
  v1::UploadImageRequest reading_;
  Turn read_turn_;
  Mutex mutex_;
  bool finished_ REEVE_GUARDED_BY(mutex_) = false;
  bool waiting_ REEVE_GUARDED_BY(mutex_) = false;  ///< for the job's end
};

}  // namespace reeve::server
