#include "server/rpc/status_to_grpc.h"

#include <catch2/catch.hpp>

#include "reeve/v1/error_detail.pb.h"

namespace reeve::server {
namespace {

v1::ErrorDetail detail_of(const grpc::Status& status) {
  v1::ErrorDetail detail;
  REQUIRE(detail.ParseFromString(status.error_details()));
  return detail;
}

TEST_CASE("an error crosses with code, reason, numbers and remedy", "[api]") {
  const auto status = to_grpc(Error{Code::FailedPrecondition, "VM_NOT_STOPPED", "vm 'a' is running"}
                                  .resource("vms/1")
                                  .with("state", "RUNNING")
                                  .with("field:vm.spec.cpus", "is 0")
                                  .remedy("Stop it first."));
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(status.error_message() == "vm 'a' is running");
  const auto detail = detail_of(status);
  CHECK(detail.reason() == "VM_NOT_STOPPED");
  CHECK(detail.resource() == "vms/1");
  CHECK(detail.remedy() == "Stop it first.");
  CHECK(detail.metadata().at("state") == "RUNNING");
  REQUIRE(detail.field_violations_size() == 1);
  CHECK(detail.field_violations(0).field() == "vm.spec.cpus");
  CHECK(to_grpc(Status()).ok());
}

TEST_CASE("errors stay below what clients accept in trailers, whatever is in them", "[api]") {
  auto error = Error{Code::InvalidArgument, "BAD_FIELD", std::string(100'000, 'x')}.remedy(
      std::string(50'000, '\xff'));
  for (int i = 0; i < 200; ++i)
    error = std::move(error).with("k" + std::to_string(i), std::string(900, 'v'));
  const auto status = to_grpc(error);
  CHECK(status.error_message().size() < 2000);
  CHECK(status.error_details().size() < 4096);
  CHECK(detail_of(status).reason() == "BAD_FIELD");
}

}  // namespace
}  // namespace reeve::server
