// bench/core_lab_save.h - a row of core_lab_bench.cpp in a file of its own.
#pragma once

namespace reeve::bench {

/// Saves and restores a guest of 1 GiB with 200 MiB in use, on the own core and on QEMU, taking
/// turns `rounds` times; prints sizes, times and their ratios.
void save_and_restore(int rounds);

}  // namespace reeve::bench
