// tests/agent/driver/libvirt_calls_test.cpp - deadlines on calls, and the mapping of libvirt's
// errors.
#include <future>
#include <memory>

#include <catch2/catch.hpp>
#include <libvirt/virterror.h>

#include "agent/driver/libvirt/calls.h"
#include "agent/driver/libvirt/error.h"

using namespace reeve;
using namespace reeve::agent::libvirt;
using namespace std::chrono_literals;

namespace {

/// Calls that hang until they are let go.
struct Hang {
  struct Gate {
    std::promise<void> begun;
    std::promise<void> let_go;
  };
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();

  std::function<Result<int>()> work() const {
    return [gate = gate]() -> Result<int> {
      gate->begun.set_value();
      gate->let_go.get_future().wait();
      return 1;
    };
  }
  /// Runs until one is overdue: on a busy machine the thread may not begin in time.
  Error run_overdue(Calls& calls) const {
    for (;;) {
      auto answer = calls.run<int>("hanging", 1ms, work());
      if (answer.error().message().find("not begun") == std::string::npos) return answer.error();
    }
  }
  void wait_until_begun() const { gate->begun.get_future().wait(); }
  void let_go() const { gate->let_go.set_value(); }
};

}  // namespace

TEST_CASE("a call's value and error come back", "[libvirt]") {
  Calls calls("test", 1);
  CHECK(calls.run<int>("adding", 10s, [] { return Result<int>(2); }).value() == 2);
  const auto failed = calls.run<int>(
      "adding", 10s, [] { return Result<int>(Error(Code::NotFound, "GUEST_NOT_FOUND", "no")); });
  CHECK(failed.error().reason() == "GUEST_NOT_FOUND");
}

TEST_CASE("an overdue call answers busy and stops counting when it returns", "[libvirt]") {
  Hang hang;
  Calls calls("test", 2);
  const auto error = hang.run_overdue(calls);
  CHECK(error.code() == Code::DeadlineExceeded);
  CHECK(error.reason() == "HYPERVISOR_BUSY");
  CHECK(calls.run<int>("other", 10s, [] { return Result<int>(1); }).ok());
  hang.let_go();
  while (calls.overdue() > 0) std::this_thread::yield();
  CHECK(calls.run<int>("again", 10s, [] { return Result<int>(1); }).ok());
}

TEST_CASE("a call given up before it began never runs", "[libvirt]") {
  Hang hang;
  auto ran = std::make_shared<std::atomic<bool>>(false);
  Calls calls("test", 1);
  std::thread first([&] { CHECK(calls.run<int>("hanging", 10s, hang.work()).ok()); });
  hang.wait_until_begun();
  const auto answer = calls.run<int>("waiting", 1ms, [ran]() -> Result<int> {
    *ran = true;
    return 1;
  });
  CHECK(answer.error().message().find("not begun") != std::string::npos);
  hang.let_go();
  first.join();
  CHECK(calls.run<int>("next", 10s, [] { return Result<int>(1); }).ok());
  CHECK_FALSE(*ran);
}

TEST_CASE("with every thread overdue, calls fail at once", "[libvirt]") {
  Hang hang;
  Calls calls("test", 1);
  static_cast<void>(hang.run_overdue(calls));
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = calls.run<int>("next", 1h, [] { return Result<int>(1); });
  CHECK(answer.error().reason() == "HYPERVISOR_BUSY");
  CHECK(std::chrono::steady_clock::now() - begin < 1min);
  hang.let_go();
}

TEST_CASE("calls that hang do not hold up the end", "[libvirt]") {
  Hang hang;
  {
    Calls calls("test", 1);
    static_cast<void>(hang.run_overdue(calls));
  }
  hang.let_go();
}

TEST_CASE("libvirt's errors are told apart by number, not by text", "[libvirt]") {
  struct Row {
    int domain;
    int code;
    Code expected;
    std::string_view reason;
  };
  const Row rows[] = {
      {VIR_FROM_QEMU, VIR_ERR_NO_DOMAIN, Code::NotFound, "GUEST_NOT_FOUND"},
      {VIR_FROM_QEMU, VIR_ERR_OPERATION_INVALID, Code::FailedPrecondition, "GUEST_STATE"},
      {VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR, Code::Unavailable, "HYPERVISOR_DOWN"},
      {VIR_FROM_REMOTE, VIR_ERR_SYSTEM_ERROR, Code::Unavailable, "HYPERVISOR_DOWN"},
      {VIR_FROM_RPC, VIR_ERR_RPC, Code::Unavailable, "HYPERVISOR_DOWN"},
      {VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR, Code::Internal, "HYPERVISOR_ERROR"},
      {VIR_FROM_QEMU, VIR_ERR_OPERATION_TIMEOUT, Code::DeadlineExceeded, "HYPERVISOR_BUSY"},
      {VIR_FROM_QEMU, VIR_ERR_CONFIG_UNSUPPORTED, Code::InvalidArgument, "GUEST_INVALID"},
      {VIR_FROM_XML, VIR_ERR_XML_INVALID_SCHEMA, Code::InvalidArgument, "GUEST_INVALID"},
      {VIR_FROM_ESX, VIR_ERR_NO_SUPPORT, Code::Unimplemented, "NOT_SUPPORTED"},
      {VIR_FROM_ESX, VIR_ERR_AUTH_FAILED, Code::PermissionDenied, "HYPERVISOR_DENIED"},
      {VIR_FROM_QEMU, VIR_ERR_AGENT_UNRESPONSIVE, Code::FailedPrecondition, "GUEST_AGENT_ABSENT"},
      {VIR_FROM_QEMU, VIR_ERR_NO_MEMORY, Code::ResourceExhausted, "HOST_NO_MEMORY"},
      {VIR_FROM_NONE, 99'999, Code::Internal, "HYPERVISOR_ERROR"},
  };
  for (const auto& row : rows) {
    const auto error = map_error(row.domain, row.code, "text");
    CHECK(error.code() == row.expected);
    CHECK(error.reason() == row.reason);
  }
}

TEST_CASE("an error's text is one short printable line", "[libvirt]") {
  CHECK(map_error(0, 0, "a\nb\x1b[0m.").message() == "a b [0m");
  CHECK(map_error(0, 0, std::string(10'000, 'x')).message().size() == 2'000);
  CHECK_FALSE(map_error(0, 0, "").message().empty());
}
