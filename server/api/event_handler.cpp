#include "server/api/event_handler.h"

#include "server/api/watch_stream.h"

namespace reeve::server {

// Here, so that no other file instantiates the service's methods.
EventHandler::EventHandler(FrontDoor& door, EventFeed& feed, AuditLog& audit)
    : door_(door), feed_(feed), audit_(audit) {}

EventHandler::~EventHandler() = default;

grpc::ServerWriteReactor<v1::WatchResponse>* EventHandler::Watch(
    grpc::CallbackServerContext* context, const v1::WatchRequest* request) {
  return door_.enter_stream<grpc::ServerWriteReactor<v1::WatchResponse>, v1::WatchRequest>(
      context,
      [&](std::unique_ptr<Admission> admission) {
        return WatchStream::create(std::move(admission), feed_, *request);
      },
      *request);
}

grpc::ServerUnaryReactor* EventHandler::ListEvents(grpc::CallbackServerContext* context,
                                                   const v1::ListEventsRequest* request,
                                                   v1::ListEventsResponse* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return feed_.list(caller, *request); });
}

grpc::ServerUnaryReactor* EventHandler::ListAuditEntries(grpc::CallbackServerContext* context,
                                                         const v1::ListAuditEntriesRequest* request,
                                                         v1::ListAuditEntriesResponse* response) {
  return door_.enter(context, request, response,
                     [&](const Caller&) { return audit_.list(*request); });
}

}  // namespace reeve::server
