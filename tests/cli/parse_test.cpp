#include "cli/commands/parse.h"

#include <catch2/catch.hpp>

#include "cli/client.h"
#include "cli/commands/vm_limits.h"
#include "cli/exit_code.h"
#include "reeve/v1/error_detail.pb.h"

namespace reeve::cli {
namespace {

TEST_CASE("sizes take units and refuse what overflows or is no size", "[cli]") {
  CHECK(parse_size_bytes("512M", 'M').value() == 512ll << 20);
  CHECK(parse_size_bytes("2g", 'M').value() == 2ll << 30);
  CHECK(parse_size_bytes("2GiB", 'M').value() == 2ll << 30);
  CHECK(parse_size_bytes("10", 'G').value() == 10ll << 30);
  CHECK(parse_size_bytes("7B", 'G').value() == 7);
  for (const auto* bad :
       {"", "G", "-1G", "1.5G", "1X", "1GG", "99999999999999T", "9999999999999999", "0x10"}) {
    CAPTURE(bad);
    CHECK(parse_size_bytes(bad, 'M').error().reason() == "USAGE");
  }
}

TEST_CASE("a request over the server's limit is refused before it is sent", "[cli]") {
  v1::CreateVmRequest request;
  request.mutable_vm()->set_description(std::string(10u << 20, 'x'));
  const auto refused = check_size(request);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().reason() == "MESSAGE_TOO_LARGE");
  CHECK(refused.error().message().find("4194304") != std::string::npos);
  CHECK_FALSE(refused.error().remedy().empty());
  request.mutable_vm()->set_description(std::string(1u << 20, 'x'));
  CHECK(check_size(request).ok());
}

TEST_CASE("limits are numbers, or the default", "[cli]") {
  v1::ResourceLimits limits;
  const auto paths = fill_limits({.cpu_weight = "300", .cpu_limit = "250%"}, limits).value();
  CHECK(paths ==
        std::vector<std::string>{"spec.limits.cpu_weight", "spec.limits.cpu_limit_percent"});
  CHECK(limits.cpu_weight() == 300);
  CHECK(limits.cpu_limit_percent() == 250);
  CHECK(fill_limits({.cpu_weight = "default", .memory_limit = "2G"}, limits).ok());
  CHECK(limits.cpu_weight() == 0);
  CHECK(limits.memory_limit_mib() == 2048);
  CHECK(fill_limits({}, limits).value().empty());
  for (const auto* bad : {"0", "-1", "1.5", "x", "99999999999", "10 ", "%"}) {
    CAPTURE(bad);
    CHECK(fill_limits({.cpu_weight = bad}, limits).error().reason() == "USAGE");
    CHECK(fill_limits({.cpu_limit = bad}, limits).error().reason() == "USAGE");
  }
  CHECK(fill_limits({.memory_limit = "much"}, limits).error().reason() == "USAGE");
}

TEST_CASE("labels are KEY=VALUE", "[cli]") {
  google::protobuf::Map<std::string, std::string> labels;
  CHECK(parse_labels({"a=b", "c=", "d=e=f"}, labels).ok());
  CHECK(labels.at("d") == "e=f");
  CHECK(labels.at("c").empty());
  CHECK(parse_labels({"a"}, labels).error().reason() == "USAGE");
  CHECK(parse_labels({"=a"}, labels).error().reason() == "USAGE");
}

TEST_CASE("a server's error keeps its reason, remedy and numbers", "[cli]") {
  v1::ErrorDetail detail;
  detail.set_reason("NO_HOST_FITS");
  detail.set_remedy("free memory");
  (*detail.mutable_metadata())["needed_mib"] = "2048";
  const Error error =
      error_of({grpc::StatusCode::RESOURCE_EXHAUSTED, "no host", detail.SerializeAsString()});
  CHECK(error.reason() == "NO_HOST_FITS");
  CHECK(error.remedy() == "free memory");
  CHECK(error.metadata().at("needed_mib") == "2048");
  CHECK(error_of({grpc::StatusCode::UNAVAILABLE, "x", "\xff garbage"}).reason() ==
        "SERVER_UNREACHABLE");
}

TEST_CASE("exit codes follow the published table", "[cli]") {
  const auto code = [](Code c, Reason r) {
    return static_cast<int>(exit_code_of(Error(c, r, "")));
  };
  CHECK(code(Code::InvalidArgument, "USAGE") == 2);
  CHECK(code(Code::InvalidArgument, "BAD_FIELD") == 2);
  CHECK(code(Code::InvalidArgument, "AMBIGUOUS") == 2);
  CHECK(code(Code::InvalidArgument, "BAD_CONTEXTS") == 1);
  CHECK(code(Code::NotFound, "VM_NOT_FOUND") == 3);
  CHECK(code(Code::Aborted, "STALE_ETAG") == 4);
  CHECK(code(Code::FailedPrecondition, "VM_NOT_STOPPED") == 4);
  CHECK(code(Code::PermissionDenied, "X") == 5);
  CHECK(code(Code::Unavailable, "SERVER_UNREACHABLE") == 6);
  CHECK(code(Code::DeadlineExceeded, "WAIT_TIMEOUT") == 7);
  CHECK(code(Code::Aborted, "PARTIAL") == 8);
  CHECK(code(Code::FailedPrecondition, "JOB_FAILED") == 9);
  CHECK(code(Code::FailedPrecondition, "JOB_PARKED") == 10);
}

}  // namespace
}  // namespace reeve::cli
