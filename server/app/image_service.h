// server/app/image_service.h - verbs on images, without gRPC.
//
// Any thread; see vm_service.h.
#pragma once

#include <string>

#include "reeve/v1/image_service.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

/// An upload that a running import waits for.
struct ExpectedUpload {
  std::string job_uid{};
  std::string host_uid{};
  std::string ticket{};  ///< what the agent's ReceiveUpload begins with
  std::int64_t size_bytes = 0;
};

class ImageService {
 public:
  virtual ~ImageService() = default;

  virtual Result<v1::Image> get(const Caller& caller, const v1::GetImageRequest& request) = 0;
  virtual Result<v1::ListImagesResponse> list(const Caller& caller,
                                              const v1::ListImagesRequest& request) = 0;
  virtual void import(const Caller& caller, const v1::ImportImageRequest& request,
                      Reply<v1::Job> reply) = 0;
  virtual void update(const Caller& caller, const v1::UpdateImageRequest& request,
                      Reply<v1::Image> reply) = 0;
  virtual void remove(const Caller& caller, const v1::DeleteImageRequest& request,
                      Reply<v1::Job> reply) = 0;

  /// What UploadImage must bring to the agent. NotFound/JOB_NOT_FOUND,
  /// FailedPrecondition/NO_UPLOAD_EXPECTED when the job is no running import from an upload.
  virtual Result<ExpectedUpload> expected_upload(const std::string& job_name) = 0;
};

}  // namespace reeve::server
