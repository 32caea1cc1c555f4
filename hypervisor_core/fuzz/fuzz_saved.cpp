// hypervisor_core/fuzz/fuzz_saved.cpp - a hostile saved state, and hostile messages inside sound
// records.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "hypervisor_core/memory/layout.h"
#include "hypervisor_core/vm/config.h"
#include "hypervisor_core/vm/save_convert.h"
#include "hypervisor_core/vm/saved_index.h"
#include "hypervisor_core/vm/snapshot.h"

using namespace reeve;
using namespace reeve::core;

namespace {

class Bytes final : public StateSource {
 public:
  explicit Bytes(std::span<const std::byte> bytes) : bytes_(bytes) {}
  Status read(std::span<std::byte> out) override {
    if (out.size() > bytes_.size()) return Error{Code::DataLoss, "STATE_TRUNCATED", "too short"};
    if (!out.empty()) std::memcpy(out.data(), bytes_.data(), out.size());
    bytes_ = bytes_.subspan(out.size());
    return {};
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  Bytes source(bytes);
  RecordReader reader(source);
  const auto header = read_saved_header(reader);
  if (header.ok()) (void)check_config(header.value().config());
  std::string record;
  while (reader.next(record).ok()) {
  }

  // The same bytes as a file that is read out of order.
  static const int file = memfd_create("saved", 0);
  REEVE_CHECK(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == static_cast<ssize_t>(size));
  if (const auto index = read_index(file); index.ok()) {
    static const auto memory = GuestMemory::create(ram_layout(24 * kMiB)).value().release();
    (void)check_index(index.value(), *memory);
    std::vector<std::byte> chunk;
    for (const auto& entry : index.value().chunks) (void)read_chunk(file, entry, chunk);
    (void)read_record_at(file, index.value().machine_offset, RecordType::Machine);
  }

  v1::SavedVcpu vcpu;
  if (vcpu.ParseFromArray(data, static_cast<int>(size))) (void)from_saved(vcpu);
  v1::SavedInterrupts interrupts;
  if (interrupts.ParseFromArray(data, static_cast<int>(size))) (void)from_saved(interrupts);
  v1::MachineConfig config;
  if (config.ParseFromArray(data, static_cast<int>(size))) (void)check_config(config);
  return 0;
}
