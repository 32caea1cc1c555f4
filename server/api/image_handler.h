// server/api/image_handler.h - verbs on images, over gRPC.
#pragma once

#include "reeve/v1/image_service.grpc.pb.h"
#include "server/api/front_door.h"
#include "server/api/upload_stream.h"
#include "server/app/image_service.h"

namespace reeve::server {

class ImageHandler final : public v1::ImageService::CallbackService {
 public:
  ImageHandler(FrontDoor& door, const UploadStream::Parts& uploads);
  ~ImageHandler() override;

  grpc::ServerUnaryReactor* GetImage(grpc::CallbackServerContext* context,
                                     const v1::GetImageRequest* request,
                                     v1::Image* response) override;
  grpc::ServerUnaryReactor* ListImages(grpc::CallbackServerContext* context,
                                       const v1::ListImagesRequest* request,
                                       v1::ListImagesResponse* response) override;
  grpc::ServerUnaryReactor* ImportImage(grpc::CallbackServerContext* context,
                                        const v1::ImportImageRequest* request,
                                        v1::Job* response) override;
  grpc::ServerUnaryReactor* UpdateImage(grpc::CallbackServerContext* context,
                                        const v1::UpdateImageRequest* request,
                                        v1::Image* response) override;
  grpc::ServerUnaryReactor* DeleteImage(grpc::CallbackServerContext* context,
                                        const v1::DeleteImageRequest* request,
                                        v1::Job* response) override;
  UploadReader* UploadImage(grpc::CallbackServerContext* context,
                            v1::UploadImageResponse* response) override;

 private:
  FrontDoor& door_;
  ImageService& images_;  // outlives the handler
  const UploadStream::Parts uploads_;
};

}  // namespace reeve::server
