#include "hypervisor_core/bus/bus.h"

#include <algorithm>
#include <mutex>
#include <string>

namespace reeve::core {

Status Bus::attach(std::uint64_t base, std::uint64_t size, IoDevice& device) {
  if (size == 0 || base + size - 1 < base)
    return Error{Code::InvalidArgument, "BUS_RANGE", "device range is empty or wraps"};
  std::unique_lock lock(mutex_);
  const auto next = std::lower_bound(ranges_.begin(), ranges_.end(), base,
                                     [](const Range& r, std::uint64_t b) { return r.base < b; });
  const bool hits_next = next != ranges_.end() && next->base - base < size;
  const bool hits_previous =
      next != ranges_.begin() && base - std::prev(next)->base < std::prev(next)->size;
  if (hits_next || hits_previous)
    return Error{Code::AlreadyExists, "BUS_RANGE_TAKEN",
                 "the range of " + std::string(device.name()) + " is taken"};
  ranges_.insert(next, {base, size, &device});
  return {};
}

void Bus::detach(std::uint64_t base) {
  std::unique_lock lock(mutex_);
  std::erase_if(ranges_, [base](const Range& range) { return range.base == base; });
}

Bus::Range Bus::find(std::uint64_t address, std::size_t length) const {
  std::shared_lock lock(mutex_);
  auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                [](std::uint64_t a, const Range& r) { return a < r.base; });
  if (after == ranges_.begin()) return {};
  const Range& range = *std::prev(after);
  const std::uint64_t offset = address - range.base;
  if (offset >= range.size || length > range.size - offset) return {};
  return range;
}

void Bus::read(std::uint64_t address, std::span<std::byte> out) {
  const Range range = find(address, out.size());
  if (range.device != nullptr) return range.device->read(address - range.base, out);
  unclaimed_.fetch_add(1, std::memory_order_relaxed);
  fill_ones(out);
}

void Bus::write(std::uint64_t address, std::span<const std::byte> value) {
  const Range range = find(address, value.size());
  if (range.device != nullptr) return range.device->write(address - range.base, value);
  unclaimed_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace reeve::core
