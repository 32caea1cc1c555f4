// tests/hypervisor_core/lab/scenarios.h - what guest_scenario.cpp can be asked for. Each starts its
// own machines and leaves none behind; lab_test.cpp says which share a run of the lab.
#pragma once

namespace reeve::lab {

void full_machine();  ///< every device on two vCPUs, pauses, a move to another process
void one_processor();
void four_processors();
void large_machine();
void guest_panic();
void hot_reboot();
void power_cut();
void console_flood();
void user_network();
void overlay_disk();
void guest_agent();
void virtio_terminal();
void agent_driver();
void full_host_disk();
void memory_pressure();
void disk_limits();
void large_frames();  ///< checksums and segments are left to the other side
void linux_32_bit();
void memory_test();
void whole_debian();

}  // namespace reeve::lab
