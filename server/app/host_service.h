// server/app/host_service.h - verbs on hosts, without gRPC. Enrol tokens belong to server/auth.
//
// Any thread; see vm_service.h.
#pragma once

#include "db/model/host.h"
#include "reeve/v1/host_service.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

class HostService {
 public:
  virtual ~HostService() = default;

  virtual Result<v1::Host> get(const Caller& caller, const v1::GetHostRequest& request) = 0;
  virtual Result<v1::ListHostsResponse> list(const Caller& caller,
                                             const v1::ListHostsRequest& request) = 0;
  virtual void update(const Caller& caller, const v1::UpdateHostRequest& request,
                      Reply<v1::Host> reply) = 0;
  /// The removed host's agent is refused from then on (its key is gone with the row).
  virtual void remove(const Caller& caller, const v1::DeleteHostRequest& request,
                      Reply<v1::DeleteHostResponse> reply) = 0;
};

/// The row of a host that enrolled just now: insert it with HostRepo in the transaction that spends
/// the token. `display_name` may be any text; what a display name cannot hold is replaced by '-'.
db::Host enrolled_host(std::string uid, std::string_view display_name, std::string cert_key_sha256);

}  // namespace reeve::server
