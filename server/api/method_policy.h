// server/api/method_policy.h - what the .proto says about each method: who may call it, whether it
// is audited.
//
// Read once at start through descriptors. Methods are found by their request type, which is unique
// to a method, so no handler names a method or permission and none can name a wrong one.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "base/status.h"
#include "reeve/v1/authorization.pb.h"

namespace reeve::server {

struct MethodPolicy {
  std::string method{};  ///< "VmService/StartVm"
  v1::Permission permission = v1::PERMISSION_UNSPECIFIED;
  bool mutates = false;
};

class MethodPolicies {
 public:
  /// Internal/METHOD_WITHOUT_POLICY when a method has no authorization option or shares its request
  /// type: such a server must not start.
  static Result<MethodPolicies> read(
      const std::vector<const google::protobuf::ServiceDescriptor*>& services);

  /// The policy of the method that takes this request; of the services given to read() only.
  const MethodPolicy& of(const google::protobuf::Descriptor* request) const;

 private:
  std::unordered_map<const google::protobuf::Descriptor*, MethodPolicy> by_request_;
};

/// All services of the API port.
std::vector<const google::protobuf::ServiceDescriptor*> api_services();

}  // namespace reeve::server
