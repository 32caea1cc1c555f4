#include "hypervisor_core/accel/kvm/probe.h"

#include <catch2/catch.hpp>
#include <unistd.h>

namespace reeve::core::accel {

TEST_CASE("the KVM probe says what is wrong, or that the payload ran", "[accel]") {
  auto probed = probe_kvm();
  REQUIRE(probed.ok());
  const auto& kvm = probed.value();
  WARN(kvm.reason << ": " << kvm.summary << " (" << kvm.took.count() << " us)");
  CHECK(kvm.usable == (kvm.reason == "KVM_OK"));
  CHECK_FALSE(kvm.summary.empty());
  CHECK((kvm.usable || !kvm.remedy.empty()));
  CHECK(kvm.present == (access(kKvmDevice, R_OK | W_OK) == 0));
}

TEST_CASE("a machine without KVM is reported as absent", "[accel]") {
  auto probed = probe_kvm("/dev/no-such-kvm");
  REQUIRE(probed.ok());
  CHECK_FALSE(probed.value().present);
  CHECK_FALSE(probed.value().usable);
  CHECK(probed.value().reason == "KVM_ABSENT");
}

TEST_CASE("a device that is not KVM is not usable", "[accel]") {
  auto probed = probe_kvm("/dev/null");
  REQUIRE(probed.ok());
  CHECK_FALSE(probed.value().usable);
}

}  // namespace reeve::core::accel
