// server/api/event_handler.h - what changed and who changed it, over gRPC.
#pragma once

#include "reeve/v1/event_service.grpc.pb.h"
#include "server/api/front_door.h"
#include "server/events/event_feed.h"

namespace reeve::server {

class EventHandler final : public v1::EventService::CallbackService {
 public:
  EventHandler(FrontDoor& door, EventFeed& feed, AuditLog& audit);
  ~EventHandler() override;

  grpc::ServerWriteReactor<v1::WatchResponse>* Watch(grpc::CallbackServerContext* context,
                                                     const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* ListEvents(grpc::CallbackServerContext* context,
                                       const v1::ListEventsRequest* request,
                                       v1::ListEventsResponse* response) override;
  grpc::ServerUnaryReactor* ListAuditEntries(grpc::CallbackServerContext* context,
                                             const v1::ListAuditEntriesRequest* request,
                                             v1::ListAuditEntriesResponse* response) override;

 private:
  FrontDoor& door_;
  EventFeed& feed_;  // outlives the handler
  AuditLog& audit_;  // outlives the handler
};

}  // namespace reeve::server
