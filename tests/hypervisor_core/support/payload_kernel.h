// tests/hypervisor_core/support/payload_kernel.h - a Multiboot kernel of 32-bit code at 1 MiB, in a
// file.
#pragma once

#include <array>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <string>

#include "reeve/core/v1/machine.pb.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::test {

class PayloadKernel {
 public:
  explicit PayloadKernel(std::initializer_list<int> code) {
    std::string image(4096, '\0');
    const std::uint32_t flags = 1u << 16;
    const std::array<std::uint32_t, 8> header{0x1badb002, flags,    0u - 0x1badb002 - flags,
                                              0x100000,   0x100000, 0x101000,
                                              0x102000,   0x100040};
    std::memcpy(image.data(), header.data(), sizeof header);
    std::size_t at = 0x40;
    for (const int byte : code) image[at++] = static_cast<char>(byte);
    std::ofstream(path(), std::ios::binary) << image;
  }
  std::string path() const { return (dir_ / "kernel").string(); }

  v1::MachineConfig config() const {
    v1::MachineConfig config;
    config.set_vcpus(1);
    config.set_memory_mib(4);
    config.set_kernel_path(path());
    config.set_uuid("6f2b1c1e-0f5d-4a58-9d3c-0b9a3a6c1d2e");
    config.set_debug_exit(true);
    return config;
  }

 private:
  reeve::test::TempDir dir_;
};

}  // namespace reeve::core::test
