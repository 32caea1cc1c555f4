#include "hypervisor_core/virtio/queue.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "base/check.h"

namespace reeve::core::virtio {
namespace {

constexpr std::uint64_t kIndexOffset = 2;  // of `idx` in both rings; `flags` lies at 0
constexpr std::uint64_t kRingOffset = 4;

Error bad_config(Reason reason, const char* message) {
  return {Code::InvalidArgument, reason, message};
}

/// A wrong chain. Never logged per request: the queue counts them.
Error bad_chain(Reason reason) {
  return {Code::InvalidArgument, reason, {}};
}

/// Section 2.7.10: has `index` been passed between `before` and `now`?
bool crossed(std::uint16_t index, std::uint16_t now, std::uint16_t before) {
  return static_cast<std::uint16_t>(now - index - 1) < static_cast<std::uint16_t>(now - before);
}

}  // namespace

Result<std::unique_ptr<Queue>> Queue::create(GuestMemory& memory, Interrupts& interrupts,
                                             const QueueConfig& config, QueuePosition position) {
  const std::uint64_t size = config.size;
  if (size == 0 || size > kMaxQueueSize || !std::has_single_bit(size))
    return bad_config("QUEUE_SIZE", "queue size is not a power of two in range");
  if (config.descriptors % 16 != 0 || config.available % 2 != 0 || config.used % 4 != 0)
    return bad_config("QUEUE_ALIGNMENT", "a ring is not aligned");
  if (!memory.contains(config.descriptors, 16 * size) ||
      !memory.contains(config.available, 6 + 2 * size) ||
      !memory.contains(config.used, 6 + 8 * size))
    return bad_config("QUEUE_NOT_IN_RAM", "a ring lies outside RAM");
  return std::unique_ptr<Queue>(new Queue(memory, interrupts, config, position));
}

Queue::Queue(GuestMemory& memory, Interrupts& interrupts, const QueueConfig& config,
             QueuePosition position)
    : memory_(memory),
      interrupts_(interrupts),
      config_(config),
      next_available_(position.next_available),
      next_used_(position.next_used),
      seen_available_(position.next_available),
      signalled_used_(position.next_used),
      heads_in_flight_(config.size) {}

Queue::~Queue() {
  REEVE_CHECK(in_flight_count_ == 0);
}

void Queue::break_ring() {
  if (broken_) return;
  broken_ = true;
  interrupts_.needs_reset();
}

/// create() checked that the rings are in RAM: what cannot be read is lost (Content::Lost).
std::optional<std::uint16_t> Queue::ring_value(Gpa address) {
  const auto value = memory_.load_acquire<std::uint16_t>(address);
  if (!value) break_ring();
  return value;
}

bool Queue::fetch_available() {
  const auto available = ring_value(config_.available + kIndexOffset);
  if (!available) return false;
  seen_available_ = *available;
  const auto pending = static_cast<std::uint16_t>(seen_available_ - next_available_);
  if (pending > config_.size) {
    break_ring();
    return false;
  }
  return pending != 0;
}

/// Says whether kicks help us. With the event index they are suppressed by leaving the index
/// behind.
void Queue::allow_kicks(bool allow) {
  if (has(kRingEventIndex)) {
    if (allow)
      (void)memory_.store_release<std::uint16_t>(config_.used + kRingOffset + 8u * config_.size,
                                                 next_available_);
  } else if (kicks_allowed_ != allow) {
    flags_ = allow ? 0 : kUsedNoNotify;
    (void)memory_.store_release<std::uint16_t>(config_.used, flags_);
  }
  kicks_allowed_ = allow;
}

bool Queue::driver_has_more() {
  if (broken_) return false;
  if (seen_available_ != next_available_ || fetch_available()) {
    if (kicks_allowed_) allow_kicks(false);
    return true;
  }
  if (broken_) return false;
  allow_kicks(true);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // our index first, then look once more
  return fetch_available();
}

std::optional<Chain> Queue::pop() {
  while (driver_has_more()) {
    const auto head = ring_value(config_.available + kRingOffset + 2u * slot(next_available_));
    if (!head) return std::nullopt;
    if (*head >= config_.size || heads_in_flight_[*head]) {
      break_ring();
      return std::nullopt;
    }
    ++next_available_;
    ++counters_.chains;
    if (auto chain = open(*head)) return chain;
  }
  return std::nullopt;
}

std::optional<Chain> Queue::open(std::uint16_t head) {
  heads_in_flight_[head] = true;
  ++in_flight_count_;
  std::vector<Segment> segments;
  if (!spare_.empty()) {
    segments = std::move(spare_.back());
    spare_.pop_back();
  }
  const auto readable = collect(head, segments);
  if (readable.ok()) return Chain(*this, head, std::move(segments), readable.value());
  ++counters_.bad_chains;
  give_back(head, 0);
  recycle(std::move(segments));
  return std::nullopt;
}

std::uint16_t Queue::suspend(Chain&& chain) {
  REEVE_CHECK(chain.queue_ == this);
  chain.queue_ = nullptr;
  heads_in_flight_[chain.head_] = false;
  --in_flight_count_;
  recycle(std::move(chain.segments_));
  return chain.head_;
}

std::optional<Chain> Queue::reopen(std::uint16_t head) {
  if (broken_) return std::nullopt;
  if (head >= config_.size || heads_in_flight_[head]) {
    break_ring();
    return std::nullopt;
  }
  return open(head);
}

/// Walks the chain at `head`, each descriptor copied once. Returns how many segments are readable.
Result<std::size_t> Queue::collect(std::uint16_t head, std::vector<Segment>& out) {
  Gpa table = config_.descriptors;
  std::uint32_t table_size = config_.size;
  std::uint32_t at = head;
  bool indirect = false;
  std::size_t readable = 0;
  std::uint64_t bytes = 0;
  for (std::uint32_t walked = 0;; ++walked) {
    if (at >= table_size) return bad_chain("DESCRIPTOR_INDEX");
    // One more than the ring is possible only through a loop; the table of an indirect one is no
    // larger.
    if (walked > config_.size || out.size() >= config_.size) return bad_chain("DESCRIPTOR_LOOP");
    const auto descriptor = memory_.read_object<Descriptor>(table + 16u * at);
    if (!descriptor) return bad_chain("DESCRIPTOR_NOT_IN_RAM");
    if (descriptor->flags & kDescriptorIndirect) {
      const bool whole = descriptor->length != 0 && descriptor->length % 16 == 0 &&
                         descriptor->length / 16 <= config_.size;
      if (indirect || !has(kRingIndirect) || (descriptor->flags & kDescriptorNext) || !whole)
        return bad_chain("DESCRIPTOR_INDIRECT");
      table = descriptor->address;
      table_size = descriptor->length / 16;
      if (!memory_.contains(table, descriptor->length)) return bad_chain("DESCRIPTOR_NOT_IN_RAM");
      indirect = true;
      at = 0;
      continue;
    }
    const bool writable = (descriptor->flags & kDescriptorWrite) != 0;
    if (!writable && readable != out.size()) return bad_chain("DESCRIPTOR_ORDER");
    bytes += descriptor->length;
    if (descriptor->length == 0 || bytes > kMaxChainBytes) return bad_chain("DESCRIPTOR_LENGTH");
    const auto host = memory_.span(descriptor->address, descriptor->length);
    if (!host) return bad_chain("DESCRIPTOR_NOT_IN_RAM");
    out.push_back({descriptor->address, host->data(), host->size()});
    if (!writable) ++readable;
    if (!(descriptor->flags & kDescriptorNext)) return readable;
    at = descriptor->next;
  }
}

void Queue::put_back(Chain&& chain) {
  REEVE_CHECK(chain.queue_ == this && chain.written_ == 0);
  chain.queue_ = nullptr;
  heads_in_flight_[chain.head_] = false;
  --in_flight_count_;
  --next_available_;
  --counters_.chains;
  recycle(std::move(chain.segments_));
}

void Queue::give_back(std::uint16_t head, std::size_t written) {
  heads_in_flight_[head] = false;
  --in_flight_count_;
  struct {
    std::uint32_t id;
    std::uint32_t length;
  } const element{head, static_cast<std::uint32_t>(written)};
  (void)memory_.write_object(config_.used + kRingOffset + 8u * slot(next_used_), element);
  ++next_used_;
  (void)memory_.store_release<std::uint16_t>(config_.used + kIndexOffset, next_used_);
}

void Queue::recycle(std::vector<Segment> segments) {
  constexpr std::size_t kSpare = 64;
  if (spare_.size() >= kSpare) return;
  segments.clear();
  spare_.push_back(std::move(segments));
}

bool Queue::driver_wants_interrupt() {
  const std::uint16_t before = std::exchange(signalled_used_, next_used_);
  if (before == next_used_) return false;
  std::atomic_thread_fence(std::memory_order_seq_cst);  // our index first, then the driver's wish
  if (has(kRingEventIndex)) {
    const auto event = ring_value(config_.available + kRingOffset + 2u * config_.size);
    return event && crossed(*event, next_used_, before);
  }
  const auto flags = ring_value(config_.available);
  return flags && !(*flags & kAvailableNoInterrupt);
}

void Queue::signal_used() {
  if (!driver_wants_interrupt()) return;
  ++counters_.interrupts;
  interrupts_.queue_used(config_.index);
}

}  // namespace reeve::core::virtio
