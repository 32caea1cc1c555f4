#include "hypervisor_core/virtio/devices/balloon.h"

#include <algorithm>

#include <fcntl.h>
#include <linux/falloc.h>

#include "base/bytes.h"
#include "reeve/core/v1/devices.pb.h"

namespace reeve::core::virtio {
namespace {

constexpr std::uint64_t kStatistics = 1u << 1;
constexpr std::uint64_t kDeflateOnOom = 1u << 2;
constexpr std::uint64_t kReporting = 1u << 5;

constexpr std::uint16_t kInflate = 0, kDeflate = 1;
constexpr std::size_t kConfigBytes = 16;
constexpr std::size_t kMaxPagesPerChain = 16384;  // Linux sends 256
constexpr std::size_t kMaxStatistics = 32;
constexpr std::size_t kStatisticBytes = 10;

}  // namespace

Result<std::unique_ptr<Balloon>> Balloon::create(GuestMemory& memory) {
  auto wake = TRY(WakeFd::create());
  return std::unique_ptr<Balloon>(new Balloon(memory, std::move(wake)));
}

Traits Balloon::traits() const {
  return {.device_id = kBalloonDevice,
          .features = kStatistics | kDeflateOnOom | kReporting,
          .queue_sizes = kQueues,
          .config_size = kConfigBytes};
}

void Balloon::activate(const Activation& activation) {
  features_ = activation.features;
  Lock lock(mutex_);
  interrupts_ = activation.interrupts;
}

/// A guest that starts again has all its memory back; the target stays.
void Balloon::reset() {
  features_ = 0;
  actual_pages_ = 0;
  statistics_wanted_ = false;
  Lock lock(mutex_);
  interrupts_ = nullptr;
  statistics_ = {};
}

// Drivers number the queues they use without gaps: reporting comes third when there are no
// statistics.
void Balloon::serve(std::uint16_t index, Queue& queue) {
  if (index == kInflate) return inflate(queue);
  if (index == kDeflate) return deflate(queue);
  const std::uint16_t statistics = has(kStatistics) ? 2 : 0xffff;
  const std::uint16_t reporting = has(kReporting) ? (has(kStatistics) ? 3 : 2) : 0xffff;
  if (index == statistics) take_statistics(queue);
  if (index == reporting) take_report(queue);
}

void Balloon::give_up(std::uint64_t first_page, std::uint64_t count) {
  if (memory_.release(first_page << 12, count << 12).ok())
    counters_.inflated_pages += count;
  else
    counters_.bad_pages += count;
}

void Balloon::inflate(Queue& queue) {
  std::vector<std::uint32_t> pages;
  while (auto chain = queue.pop()) {
    pages.resize(std::min(chain->readable_bytes() / 4, kMaxPagesPerChain));
    chain->read_some(std::as_writable_bytes(std::span(pages)));
    if (pages.empty() || chain->readable_bytes() != 0) ++counters_.bad_chains;
    // Runs in either direction are given up in one go.
    for (std::size_t i = 0; i < pages.size();) {
      std::uint64_t low = pages[i], high = pages[i];
      for (++i; i < pages.size(); ++i)
        if (pages[i] == high + 1)
          ++high;
        else if (low != 0 && pages[i] == low - 1)
          --low;
        else
          break;
      const auto in_ram = [&] { return memory_.contains(low << 12, (high - low + 1) << 12); };
      if (in_ram())
        give_up(low, high - low + 1);
      else
        for (std::uint64_t page = low; page <= high; ++page) give_up(page, 1);
    }
  }
  queue.signal_used();
}

/// The pages come back by themselves when they are touched.
void Balloon::deflate(Queue& queue) {
  while (auto chain = queue.pop()) counters_.deflated_pages += chain->readable_bytes() / 4;
  queue.signal_used();
}

/// Free pages arrive as room to write into; they read as zeroes or as before.
void Balloon::take_report(Queue& queue) {
  std::vector<iovec> ranges;
  while (auto chain = queue.pop()) {
    ranges.clear();
    chain->take_writable(chain->writable_bytes(), ranges);
    chain->shorten(0);
    for (const auto& range : ranges) {
      const auto* from = static_cast<const std::byte*>(range.iov_base);
      for (const auto& region : memory_.regions()) {
        if (from < region.host || from >= region.host + region.range.size) continue;
        const auto start = static_cast<std::uint64_t>(from - region.host);
        const std::uint64_t first = (start + kPageSize - 1) / kPageSize * kPageSize;
        const std::uint64_t last = (start + range.iov_len) / kPageSize * kPageSize;
        if (first >= last) continue;
        (void)memory_.release(region.range.base + first, last - first);
        counters_.reported_bytes += last - first;
      }
    }
  }
  queue.signal_used();
}

void Balloon::parse_statistics(Chain& chain) {
  BalloonStatistics now;
  std::array<std::byte, kStatisticBytes> entry{};
  for (std::size_t i = 0; i < kMaxStatistics && chain.read(entry).ok(); ++i) {
    const auto value = load_le<std::uint64_t>(std::span(entry).subspan(2));
    switch (load_le<std::uint16_t>(entry)) {
      case 0: now.swapped_in_bytes = value; break;
      case 1: now.swapped_out_bytes = value; break;
      case 2: now.major_faults = value; break;
      case 3: now.minor_faults = value; break;
      case 4: now.free_bytes = value; break;
      case 5: now.total_bytes = value; break;
      case 6: now.available_bytes = value; break;
      case 7: now.cache_bytes = value; break;
      default: break;
    }
  }
  Lock lock(mutex_);
  now.reports = statistics_.reports + 1;
  statistics_ = now;
}

void Balloon::take_statistics(Queue& queue) {
  while (auto chain = queue.pop()) {
    parse_statistics(*chain);
    held_ = std::move(chain);  // one is held; a driver that sends more gets the older back
  }
  if (held_ && statistics_wanted_.exchange(false)) held_.reset();
  queue.signal_used();
}

void Balloon::on_event(std::uint32_t /*token*/, QueueSet& queues) {
  wake_.drain();
  if (Queue* queue = queues.find(2); queue != nullptr && has(kStatistics)) take_statistics(*queue);
}

void Balloon::quiesce(QueueSet& queues) {
  if (!held_) return;
  if (Queue* queue = queues.find(2)) queue->put_back(std::move(*held_));
  held_.reset();
}

Status Balloon::set_target(std::uint64_t bytes) {
  if (bytes > memory_.size_bytes())
    return Error{Code::InvalidArgument, "BALLOON_TARGET", "the guest has less memory than that"};
  target_pages_ = static_cast<std::uint32_t>(bytes >> 12);
  Lock lock(mutex_);
  if (interrupts_ != nullptr) interrupts_->config_changed();
  return {};
}

void Balloon::request_statistics() {
  statistics_wanted_ = true;
  wake_.wake();
}

BalloonStatistics Balloon::statistics() const {
  Lock lock(mutex_);
  return statistics_;
}

void Balloon::read_config(std::uint32_t offset, std::span<std::byte> out) {
  std::array<std::byte, kConfigBytes> config{};
  store_le(config, target_pages_.load());
  store_le(std::span(config).subspan(4), actual_pages_.load());
  copy_config(config, offset, out);
}

void Balloon::write_config(std::uint32_t offset, std::span<const std::byte> bytes) {
  if (offset == 4 && bytes.size() == 4) actual_pages_ = load_le<std::uint32_t>(bytes);
}

std::string Balloon::save_state() const {
  v1::BalloonState state;
  state.set_version(1);
  state.set_target_pages(target_pages_);
  state.set_actual_pages(actual_pages_);
  return state.SerializeAsString();
}

Status Balloon::load_state(std::string_view bytes) {
  v1::BalloonState state;
  if (!state.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || state.version() != 1)
    return bad_state("not the state of a balloon that we know");
  if (std::uint64_t{state.target_pages()} << 12 > memory_.size_bytes())
    return bad_state("the balloon is larger than the memory here");
  target_pages_ = state.target_pages();
  actual_pages_ = state.actual_pages();
  return {};
}

}  // namespace reeve::core::virtio
