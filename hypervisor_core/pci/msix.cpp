#include "hypervisor_core/pci/msix.h"

#include <array>

#include "base/check.h"
#include "reeve/core/v1/pci_state.pb.h"

namespace reeve::core::pci {
namespace {

constexpr std::uint64_t kEntrySize = 16;
constexpr std::uint64_t kPendingAt = 0x1000;
constexpr std::uint8_t kCapabilityId = 0x11;
constexpr std::uint16_t kEnable = 1 << 15, kFunctionMask = 1 << 14;

}  // namespace

Msix::Msix(accel::Partition& partition, std::uint16_t vectors)
    : partition_(partition), vectors_(vectors), entries_(vectors) {
  REEVE_CHECK(vectors >= 1 && vectors <= kMaxVectors);
}

void Msix::add_capability(ConfigSpace& config, std::uint8_t bar) {
  std::array<std::uint8_t, 10> body{};
  body[0] = static_cast<std::uint8_t>(vectors_ - 1);
  body[2] = bar;  // table at offset 0
  body[6] = bar;
  body[7] = kPendingAt >> 8;
  capability_ = config.add_capability(kCapabilityId, body);
  config.allow_writes(static_cast<std::uint16_t>(capability_ + 2), kEnable | kFunctionMask, 2);
}

void Msix::config_written(const ConfigSpace& config) {
  const auto control = config.get<std::uint16_t>(static_cast<std::uint16_t>(capability_ + 2));
  Lock lock(mutex_);
  enabled_ = (control & kEnable) != 0;
  function_masked_ = (control & kFunctionMask) != 0;
  flush_pending();
}

void Msix::read(std::uint64_t offset, std::span<std::byte> out) {
  Lock lock(mutex_);
  if (offset >= kPendingAt) {
    const std::uint64_t at = offset - kPendingAt;
    return put_number(out, at < 8 ? pending_ >> (8 * at) : 0);
  }
  const std::uint64_t index = offset / kEntrySize, at = offset % kEntrySize;
  // The specification allows aligned 4 and 8 byte accesses only.
  if (index >= vectors_ || (out.size() != 4 && out.size() != 8) || at % out.size() != 0)
    return put_number(out, 0);
  const Entry& entry = entries_[index];
  const std::uint64_t high = entry.data | std::uint64_t{entry.control} << 32;
  put_number(out, (at < 8 ? entry.address : high) >> (8 * (at % 8)));
}

void Msix::write(std::uint64_t offset, std::span<const std::byte> value) {
  const std::uint64_t index = offset / kEntrySize, at = offset % kEntrySize;
  if (index >= vectors_ || (value.size() != 4 && value.size() != 8) || at % value.size() != 0)
    return;
  Lock lock(mutex_);
  Entry& entry = entries_[index];
  const Entry before{.address = entry.address, .data = entry.data};
  for (std::size_t part = 0; part < value.size(); part += 4) {
    const auto word = static_cast<std::uint32_t>(number_of(value.subspan(part, 4)));
    switch (at + part) {
      case 0: entry.address = (entry.address & ~0xffffffffull) | (word & ~3u); break;
      case 4: entry.address = (entry.address & 0xffffffffull) | std::uint64_t{word} << 32; break;
      case 8: entry.data = word; break;
      default: entry.control = word & 1; break;
    }
  }
  if (entry.address != before.address || entry.data != before.data) entry.routed = false;
  flush_pending();
}

void Msix::raise(std::uint16_t vector) {
  Lock lock(mutex_);
  if (vector >= vectors_) return;
  Entry& entry = entries_[vector];
  if (masked(entry)) {
    pending_ |= std::uint64_t{1} << vector;
    return;
  }
  deliver(entry);
}

void Msix::deliver(Entry& entry) {
  if (!entry.line) {
    auto line = partition_.create_msi_line();
    if (!line.ok()) return;
    entry.line = std::move(line).value();
  }
  if (!entry.routed) entry.routed = entry.line->route({entry.address, entry.data}).ok();
  if (entry.routed) entry.line->raise();
}

void Msix::flush_pending() {
  for (std::uint16_t i = 0; pending_ != 0 && i < vectors_; ++i) {
    const std::uint64_t bit = std::uint64_t{1} << i;
    if ((pending_ & bit) == 0 || masked(entries_[i])) continue;
    pending_ &= ~bit;
    deliver(entries_[i]);
  }
}

void Msix::reset() {
  Lock lock(mutex_);
  for (auto& entry : entries_) {
    entry.address = 0;
    entry.data = 0;
    entry.control = 1;
    entry.routed = false;
  }
  pending_ = 0;
  enabled_ = function_masked_ = false;
}

void Msix::save(v1::MsixState& state) const {
  Lock lock(mutex_);
  for (const auto& entry : entries_) {
    auto& saved = *state.add_entries();
    saved.set_address(entry.address);
    saved.set_data(entry.data);
    saved.set_control(entry.control);
  }
  state.set_pending(pending_);
  state.set_enabled(enabled_);
  state.set_function_masked(function_masked_);
}

Status Msix::load(const v1::MsixState& state) {
  if (state.entries_size() != vectors_)
    return Error{Code::InvalidArgument, "DEVICE_STATE", "another number of interrupt vectors"};
  Lock lock(mutex_);
  for (int i = 0; i < state.entries_size(); ++i) {
    auto& entry = entries_[static_cast<std::size_t>(i)];
    entry.address = state.entries(i).address() & ~3ull;
    entry.data = state.entries(i).data();
    entry.control = state.entries(i).control() & 1;
    entry.routed = false;
  }
  pending_ = state.pending();
  enabled_ = state.enabled();
  function_masked_ = state.function_masked();
  flush_pending();
  return {};
}

}  // namespace reeve::core::pci
