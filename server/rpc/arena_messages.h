// server/rpc/arena_messages.h - request and response of a call on an arena of their own: a page of
// a list is thousands of small messages, which are then neither allocated nor freed one by one.
//
//   SetMessageAllocatorFor_ListVms(&list_messages_);   // in the handler, which outlives the server
#pragma once

#include <google/protobuf/arena.h>
#include <grpcpp/support/message_allocator.h>

namespace reeve::server {

/// Thread-safe. Fill the response in place: a message moved into it from elsewhere is copied.
template <class Request, class Response>
class ArenaMessages final : public grpc::MessageAllocator<Request, Response> {
 public:
  grpc::MessageHolder<Request, Response>* AllocateMessages() override { return new Holder(); }

 private:
  class Holder final : public grpc::MessageHolder<Request, Response> {
   public:
    Holder() {
      this->set_request(google::protobuf::Arena::CreateMessage<Request>(&arena_));
      this->set_response(google::protobuf::Arena::CreateMessage<Response>(&arena_));
    }
    void Release() override { delete this; }

   private:
    google::protobuf::Arena arena_;
  };
};

}  // namespace reeve::server
