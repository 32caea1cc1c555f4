// tests/hypervisor_core/lab/lab_more_test.cpp - what else guests do on the own core, in the KVM
// lab.
#include <catch2/catch.hpp>

#include "tests/hypervisor_core/lab/in_lab.h"

namespace reeve::core {

TEST_CASE("Linux boots on one processor, reboots in its process, survives power cuts and floods") {
  hold_in_lab({"one_processor", "hot_reboot", "power_cut", "console_flood"});
}

TEST_CASE("Linux has user networking through passt and a linked clone that qemu-img reads") {
  hold_in_lab({"user_network", "overlay_disk"},
              {"--net", "--add", "/usr/bin/passt", "--add", "/usr/bin/qemu-img"});
}

}  // namespace reeve::core
