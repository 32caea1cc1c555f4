// hypervisor_core/fuzz/fuzz_boot.cpp - a hostile kernel image: the input is the file.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "hypervisor_core/boot/loader.h"
#include "hypervisor_core/boot/low_memory.h"

using namespace reeve;
using namespace reeve::core;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto memory = GuestMemory::create(ram_layout(24 * kMiB)).value().release();
  const boot::MemorySource kernel(std::as_bytes(std::span(data, size)));
  const boot::MemorySource initrd(std::as_bytes(std::span(data, size / 2)));
  const auto entry =
      boot::load_image(*memory, {.kernel = kernel, .initrd = &initrd, .command_line = "quiet"});
  REEVE_CHECK(entry.ok() || !entry.error().message().empty());
  (void)memory->discard();
  return 0;
}
