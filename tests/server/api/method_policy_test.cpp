#include "server/api/method_policy.h"

#include <set>

#include <catch2/catch.hpp>

#include "reeve/agent/v1/link_service.pb.h"
#include "reeve/v1/vm_service.pb.h"

namespace reeve::server {
namespace {

TEST_CASE("methods are found by their request with what the .proto says of them", "[api]") {
  const auto policies = MethodPolicies::read(api_services());
  REQUIRE(policies.ok());
  const auto& start = policies.value().of(v1::StartVmRequest::descriptor());
  CHECK(start.method == "VmService/StartVm");
  CHECK(start.permission == v1::PERMISSION_OPERATE);
  CHECK(start.mutates);
  CHECK_FALSE(policies.value().of(v1::GetVmRequest::descriptor()).mutates);
}

TEST_CASE("a service whose methods say nothing keeps the server from starting", "[api]") {
  const auto* link = agent::v1::ConnectRequest::descriptor()->file()->service(0);
  const auto refused = MethodPolicies::read({link});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().reason() == "METHOD_WITHOUT_POLICY");
}

TEST_CASE("only three methods need no credentials", "[api]") {
  std::set<std::string> open;
  const auto policies = MethodPolicies::read(api_services()).value();
  for (const auto* service : api_services())
    for (int i = 0; i < service->method_count(); ++i)
      if (const auto& policy = policies.of(service->method(i)->input_type());
          policy.permission == v1::PERMISSION_PUBLIC)
        open.insert(policy.method);
  CHECK(open == std::set<std::string>{"ServerService/GetServerInfo", "EnrollmentService/Enroll",
                                      "EnrollmentService/Renew"});
}

TEST_CASE("every method that does not only read is audited", "[api]") {
  const auto policies = MethodPolicies::read(api_services()).value();
  for (const auto* service : api_services()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& name = service->method(i)->name();
      const bool reads = name.starts_with("Get") || name.starts_with("List") || name == "Watch" ||
                         name == "WaitJob";
      CAPTURE(name);
      CHECK(policies.of(service->method(i)->input_type()).mutates == !reads);
    }
  }
}

}  // namespace
}  // namespace reeve::server
