#include "server/api/image_handler.h"

namespace reeve::server {

// Here, so that no other file instantiates the service's methods.
ImageHandler::ImageHandler(FrontDoor& door, const UploadStream::Parts& uploads)
    : door_(door), images_(*uploads.images), uploads_(uploads) {}

ImageHandler::~ImageHandler() = default;

grpc::ServerUnaryReactor* ImageHandler::GetImage(grpc::CallbackServerContext* context,
                                                 const v1::GetImageRequest* request,
                                                 v1::Image* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return images_.get(caller, *request); });
}

grpc::ServerUnaryReactor* ImageHandler::ListImages(grpc::CallbackServerContext* context,
                                                   const v1::ListImagesRequest* request,
                                                   v1::ListImagesResponse* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return images_.list(caller, *request); });
}

grpc::ServerUnaryReactor* ImageHandler::ImportImage(grpc::CallbackServerContext* context,
                                                    const v1::ImportImageRequest* request,
                                                    v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           images_.import(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* ImageHandler::UpdateImage(grpc::CallbackServerContext* context,
                                                    const v1::UpdateImageRequest* request,
                                                    v1::Image* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Image> reply) {
                                           images_.update(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* ImageHandler::DeleteImage(grpc::CallbackServerContext* context,
                                                    const v1::DeleteImageRequest* request,
                                                    v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           images_.remove(caller, *request, std::move(reply));
                                         });
}

UploadReader* ImageHandler::UploadImage(grpc::CallbackServerContext* context,
                                        v1::UploadImageResponse* response) {
  return door_.enter_stream<UploadReader, v1::UploadImageRequest>(
      context, [&](std::unique_ptr<Admission> admission) {
        return UploadStream::create(std::move(admission), uploads_, response);
      });
}

}  // namespace reeve::server
