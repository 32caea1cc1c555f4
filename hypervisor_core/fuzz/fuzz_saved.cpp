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
#include "base/file.h"
#include "hypervisor_core/cpu/cpuid_match.h"
#include "hypervisor_core/fuzz/input.h"
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

class Text final : public StateSink {
 public:
  Status write(std::span<const std::byte> bytes) override {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  std::string text{};
};

/// What a processor would show and what a guest was promised, either of them hostile.
void look_at_cpuid(const v1::SavedHeader& header) {
  const auto cpuid = saved_cpuid(header);
  if (!cpuid.ok()) return;
  for (const auto& leaves : cpuid.value()) (void)cpu::match_cpuid(leaves, cpuid.value().front());
}

/// In sequence, as it comes over a wire, and as a file that is read out of order.
void look_at(std::span<const std::byte> bytes) {
  Bytes source(bytes);
  RecordReader reader(source);
  const auto header = read_saved_header(reader);
  if (header.ok()) (void)check_config(header.value().config());
  if (header.ok()) look_at_cpuid(header.value());
  std::string record;
  while (reader.next(record).ok()) {
  }

  static const int file = memfd_create("saved", 0);
  REEVE_CHECK(ftruncate(file, 0) == 0 && write_at(file, 0, bytes).ok());
  if (const auto index = read_index(file); index.ok()) {
    static const auto memory = GuestMemory::create(ram_layout(24 * kMiB)).value().release();
    (void)check_index(index.value(), *memory);
    std::vector<std::byte> chunk;
    for (const auto& entry : index.value().chunks) (void)read_chunk(file, entry, chunk);
    (void)read_record_at(file, index.value().machine_offset, RecordType::Machine);
  }
}

/// The input inside records, an index and a trailer whose checksums hold.
std::string sealed(fuzz::Input input) {
  Text file;
  RecordWriter writer(file);
  REEVE_CHECK(writer.begin().ok());
  for (auto records = input.number<std::uint8_t>() % 5; records > 0; --records) {
    const auto type = static_cast<RecordType>(input.number<std::uint8_t>() % 6);
    const auto content = input.take(input.number<std::uint8_t>());
    const auto page = input.number<std::uint8_t>();
    const std::string filler(page % 4 * kPageSize, static_cast<char>(page));
    REEVE_CHECK(writer.write(type, content, std::as_bytes(std::span(filler))).ok());
  }
  SavedIndex index{.machine_offset = input.number<std::uint16_t>()};
  for (auto chunks = input.number<std::uint8_t>() % 5; chunks > 0; --chunks) {
    const std::uint64_t page = input.number<std::uint16_t>(), odd = input.number<std::uint8_t>();
    index.chunks.push_back({.address = odd % 16 == 0 ? ~(page << 8) : page * kPageSize,
                            .offset = input.number<std::uint16_t>(),
                            .pages = input.number<std::uint8_t>()});
  }
  REEVE_CHECK(write_index(writer, index).ok());
  return std::move(file.text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  look_at(std::as_bytes(std::span(data, size)));
  const auto file = sealed(fuzz::Input(data, size));
  look_at(std::as_bytes(std::span(file)));

  v1::SavedHeader header;
  if (header.ParseFromArray(data, static_cast<int>(size))) {
    header.add_required_features("cpuid");
    look_at_cpuid(header);
  }
  v1::SavedVcpu vcpu;
  if (vcpu.ParseFromArray(data, static_cast<int>(size))) (void)from_saved(vcpu);
  v1::SavedInterrupts interrupts;
  if (interrupts.ParseFromArray(data, static_cast<int>(size))) (void)from_saved(interrupts);
  v1::MachineConfig config;
  if (config.ParseFromArray(data, static_cast<int>(size))) (void)check_config(config);
  return 0;
}
