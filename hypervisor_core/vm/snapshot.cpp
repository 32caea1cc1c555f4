#include "hypervisor_core/vm/snapshot.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "base/bytes.h"
#include "hypervisor_core/vm/save_convert.h"

namespace reeve::core {
namespace {

// Pages in one memory record at most: what a guest waits for when it touches one of them early. It
// touches hundreds of pages here and there before it says anything.
constexpr std::uint64_t kRun = 16;
constexpr std::uint32_t kHeaderVersion = 1;
/// A reader without it would show the guest another processor.
constexpr const char* kCpuidFeature = "cpuid";
/// A reader without it would leave the guest frozen.
constexpr const char* kThawFeature = "thaw";

Error bad(const std::string& what) {
  return Error{Code::InvalidArgument, "STATE_FORMAT", "saved state: " + what};
}

bool is_zero(const std::byte* page) {
  // A page equals itself shifted by one byte exactly when all its bytes are the first one.
  return page[0] == std::byte{0} && std::memcmp(page, page + 1, kPageSize - 1) == 0;
}

/// Writes the pages of a stretch of a region that are not zero.
Status write_pages(RecordWriter& writer, const GuestMemory::Region& region, std::uint64_t page,
                   std::uint64_t end, std::vector<SavedChunk>& chunks) {
  while (page < end) {
    if (is_zero(region.host + page * kPageSize)) {
      ++page;
      continue;
    }
    std::uint64_t last = page + 1;
    while (last < end && last - page < kRun && !is_zero(region.host + last * kPageSize)) ++last;
    const SavedChunk chunk{.address = region.range.base + page * kPageSize,
                           .offset = writer.offset(),
                           .pages = last - page};
    std::byte address[8];
    store_le<std::uint64_t>(address, chunk.address);
    TRY(writer.write(RecordType::Memory, address,
                     std::span(region.host + page * kPageSize, chunk.pages * kPageSize)));
    chunks.push_back(chunk);
    page = last;
  }
  return {};
}

/// Memory that nobody touched is not looked at: that would make the host provide it.
Result<std::vector<SavedChunk>> write_memory(RecordWriter& writer, GuestMemory& memory) {
  std::vector<SavedChunk> chunks;
  for (const auto& region : memory.regions()) {
    const auto begin = static_cast<off_t>(region.file_offset);
    const auto end = static_cast<off_t>(region.file_offset + region.range.size);
    for (off_t at = begin; at < end;) {
      const off_t data = lseek(memory.fd(), at, SEEK_DATA);
      if (data < 0 && errno != ENXIO) return errno_error("looking for memory in use");
      if (data < 0 || data >= end) break;
      const off_t hole = std::min(lseek(memory.fd(), data, SEEK_HOLE), end);
      if (hole < data) return errno_error("looking for memory in use");
      TRY(write_pages(writer, region, static_cast<std::uint64_t>(data - begin) / kPageSize,
                      static_cast<std::uint64_t>(hole - begin) / kPageSize, chunks));
      at = hole;
    }
  }
  return chunks;
}

Result<std::uint64_t> load_memory(GuestMemory& memory, std::string_view record) {
  const auto bytes = std::as_bytes(std::span(record.data(), record.size()));
  if (bytes.size() < 8 + kPageSize || (bytes.size() - 8) % kPageSize != 0)
    return bad("memory record");
  const auto address = load_le<std::uint64_t>(bytes);
  if (address % kPageSize != 0 || !memory.write(address, bytes.subspan(8)))
    return bad("memory that the machine does not have");
  return (bytes.size() - 8) / kPageSize;
}

Status write_message(RecordWriter& writer, RecordType type,
                     const google::protobuf::MessageLite& message) {
  const std::string bytes = message.SerializeAsString();
  if (bytes.size() > kMaxRecord) return bad("too much device state");
  return writer.write(type, std::as_bytes(std::span(bytes)));
}

Status collect_machine(Board& board, Vcpus vcpus, v1::SavedMachine& out) {
  for (const auto& vcpu : vcpus) {
    const auto state = TRY(vcpu->vcpu().state());
    to_saved(state, *out.add_vcpus());
  }
  to_saved(TRY(board.partition().interrupt_state()), *out.mutable_interrupts());
  out.set_clock_ns(TRY(board.partition().clock()));
  board.serial().save(*out.mutable_serial());
  board.rtc().save(*out.mutable_rtc());
  board.acpi().save(*out.mutable_acpi());
  board.keyboard().save(*out.mutable_keyboard());
  out.set_pci_address(board.pci().address_register());
  std::uint8_t slot = 1;  // 0 is the host bridge, which has no state of its own
  for (const auto& plugged : board.peripherals().plugged()) {
    auto& device = *out.add_devices();
    plugged.transport->save(device);
    device.set_config_space(board.pci().save(slot++));
  }
  return {};
}

Status load_devices(Board& board, const v1::SavedMachine& state) {
  const auto plugged = board.peripherals().plugged();
  if (plugged.size() != static_cast<std::size_t>(state.devices_size()))
    return bad("another number of devices");
  board.pci().set_address_register(state.pci_address());
  std::uint8_t slot = 1;
  for (std::size_t i = 0; i < plugged.size(); ++i) {
    const auto& device = state.devices(static_cast<int>(i));
    board.pci().load(slot++, device.config_space());
    TRY(plugged[i].transport->load(device));
  }
  return {};
}

}  // namespace

std::uint64_t pages_of(const SavedIndex& index) {
  std::uint64_t pages = 0;
  for (const auto& chunk : index.chunks) pages += chunk.pages;
  return pages;
}

Status save_machine(StateSink& sink, Board& board, Vcpus vcpus, const v1::MachineConfig& config,
                    std::string_view accelerator) {
  RecordWriter writer(sink);
  TRY(writer.begin());
  v1::SavedHeader header;
  header.set_version(kHeaderVersion);
  *header.mutable_config() = config;
  header.set_accelerator(std::string(accelerator));
  header.add_required_features(kCpuidFeature);
  // Asked before the devices: a thaw sent from here on is in the channel's state or still owed.
  const auto* agent = board.peripherals().agent_channel();
  const bool thaw_owed = agent != nullptr && agent->owes_thaw();
  if (thaw_owed) header.add_required_features(kThawFeature);
  for (const auto& leaves : board.cpuid()) to_saved(leaves, *header.add_cpuid());
  TRY(write_message(writer, RecordType::Header, header));
  v1::SavedMachine machine;
  machine.set_thaw_owed(thaw_owed);
  TRY(collect_machine(board, vcpus, machine));
  SavedIndex index;
  index.chunks = TRY(write_memory(writer, board.memory()));
  machine.set_memory_pages(pages_of(index));
  index.machine_offset = writer.offset();
  TRY(write_message(writer, RecordType::Machine, machine));
  return write_index(writer, index);
}

Result<v1::SavedHeader> read_saved_header(RecordReader& reader) {
  TRY(reader.begin());
  std::string bytes;
  v1::SavedHeader header;
  if (TRY(reader.next(bytes)) != RecordType::Header || !header.ParseFromString(bytes))
    return bad("no header");
  if (header.version() != kHeaderVersion)
    return Error{Code::FailedPrecondition, "STATE_VERSION", "the saved state has another version"};
  for (const auto& feature : header.required_features())
    if (feature != kCpuidFeature && feature != kThawFeature)
      return Error{Code::FailedPrecondition, "STATE_FEATURE",
                   "the saved state needs '" + feature + "', which this version lacks"};
  return header;
}

Result<Cpuid> saved_cpuid(const v1::SavedHeader& header) {
  const auto& features = header.required_features();
  if (std::find(features.begin(), features.end(), kCpuidFeature) == features.end()) return Cpuid{};
  if (header.cpuid_size() == 0) return bad("no CPUID");
  Cpuid out;
  for (const auto& leaves : header.cpuid()) out.push_back(TRY(from_saved(leaves)));
  return out;
}

Status load_machine(RecordReader& reader, Board& board, Vcpus vcpus) {
  std::string bytes;
  std::uint64_t pages = 0;
  for (;;) {
    const auto type = TRY(reader.next(bytes));
    if (type == RecordType::Machine) break;
    if (type != RecordType::Memory) return bad("records out of order");
    pages += TRY(load_memory(board.memory(), bytes));
  }
  return apply_machine(bytes, pages, board, vcpus);
}

Status apply_machine(const std::string& record, std::uint64_t pages, Board& board, Vcpus vcpus) {
  v1::SavedMachine state;
  if (!state.ParseFromString(record)) return bad("machine record");
  if (state.memory_pages() != pages) return bad("memory is missing");
  if (static_cast<std::size_t>(state.vcpus_size()) != vcpus.size())
    return bad("another number of vCPUs");
  const auto interrupts = TRY(from_saved(state.interrupts()));
  TRY(board.partition().set_interrupt_state(interrupts));
  TRY(board.partition().set_clock(state.clock_ns()));
  for (std::size_t i = 0; i < vcpus.size(); ++i) {
    const auto vcpu = TRY(from_saved(state.vcpus(static_cast<int>(i))));
    TRY(vcpus[i]->vcpu().set_state(vcpu));
  }
  TRY(board.rtc().load(state.rtc()));
  TRY(board.keyboard().load(state.keyboard()));
  TRY(board.acpi().load(state.acpi()));
  TRY(board.serial().load(state.serial()));
  TRY(load_devices(board, state));
  if (state.thaw_owed()) {
    auto* agent = board.peripherals().agent_channel();
    if (agent == nullptr) return bad("a frozen guest without an agent");
    agent->owe_thaw(true);
  }
  return board.renew_generation_id();
}

}  // namespace reeve::core
