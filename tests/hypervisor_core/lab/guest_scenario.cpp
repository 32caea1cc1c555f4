// tests/hypervisor_core/lab/guest_scenario.cpp - runs inside the lab machine: unmodified Linux on
// our own core. Arguments: scenarios. Prints what it does; exit code 0 means all of it held.
#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include "hypervisor_core/accel/kvm/probe.h"
#include "tests/hypervisor_core/lab/machine.h"
#include "tests/hypervisor_core/lab/scenarios.h"

int main(int count, char** arguments) {
  using namespace reeve::lab;
  const std::map<std::string, void (*)()> scenarios{{"memory_pressure", memory_pressure},
                                                    {"disk_limits", disk_limits},
                                                    {"large_frames", large_frames},
                                                    {"full_machine", full_machine},
                                                    {"one_processor", one_processor},
                                                    {"hot_reboot", hot_reboot},
                                                    {"power_cut", power_cut},
                                                    {"console_flood", console_flood},
                                                    {"user_network", user_network},
                                                    {"overlay_disk", overlay_disk},
                                                    {"guest_agent", guest_agent},
                                                    {"virtio_terminal", virtio_terminal},
                                                    {"linux_32_bit", linux_32_bit},
                                                    {"memory_test", memory_test},
                                                    {"whole_debian", whole_debian},
                                                    {"full_host_disk", full_host_disk},
                                                    {"agent_driver", agent_driver},
                                                    {"four_processors", four_processors},
                                                    {"large_machine", large_machine},
                                                    {"guest_panic", guest_panic}};
  const auto probe = take(reeve::core::accel::probe_kvm(), "probe");
  require(probe.usable, "KVM is usable: " + probe.summary);
  for (int i = 1; i < count; ++i) {
    const auto chosen = scenarios.find(arguments[i]);
    require(chosen != scenarios.end(), std::string("there is a scenario ") + arguments[i]);
    const auto begin = std::chrono::steady_clock::now();
    chosen->second();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::printf("== %s held, %.1f s\n", arguments[i], took.count());
  }
  std::printf("all held\n");
  return 0;
}
