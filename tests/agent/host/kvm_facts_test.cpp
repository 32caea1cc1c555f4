#include <catch2/catch.hpp>

#include "agent/host/machine_probe.h"
#include "hypervisor_core/accel/kvm/probe.h"

namespace reeve::agent {

TEST_CASE("a host shows the reason why its KVM is not usable, and what to do", "[host]") {
  const auto facts = kvm_facts(core::accel::KvmUsability{
      .present = true, .reason = "KVM_EMULATED", .summary = "it cannot", .remedy = "buy another"});
  CHECK_FALSE(facts.usable());
  CHECK(facts.description() == "it cannot; buy another");
}

TEST_CASE("a host with a usable KVM says so and nothing else", "[host]") {
  const auto facts = kvm_facts(core::accel::KvmUsability{
      .present = true, .usable = true, .reason = "KVM_OK", .summary = "it runs guests"});
  CHECK(facts.usable());
  CHECK(facts.description() == "it runs guests");
}

TEST_CASE("a probe that failed makes KVM no more usable", "[host]") {
  const auto facts = kvm_facts(Error{Code::ResourceExhausted, "SYSTEM_CALL", "no memory"});
  CHECK_FALSE(facts.usable());
  CHECK(facts.description() == "the probe failed: no memory");
}

}  // namespace reeve::agent
