#include "hypervisor_core/virtio/devices/block.h"

#include <algorithm>

#include "base/bytes.h"
#include "reeve/core/v1/devices.pb.h"

namespace reeve::core::virtio {
namespace {

enum Feature : std::uint64_t {
  kSegMax = 1u << 2,
  kReadOnly = 1u << 5,
  kBlockSize = 1u << 6,
  kFlush = 1u << 9,
  kTopology = 1u << 10,
  kMultiQueue = 1u << 12,
  kDiscard = 1u << 13,
  kWriteZeroes = 1u << 14,
};
enum RequestType : std::uint32_t {
  kIn = 0,
  kOut = 1,
  kFlushCache = 4,
  kGetId = 8,
  kDiscardRange = 11,
  kWriteZeroesRange = 13,
};
enum class GuestStatus : std::uint8_t { Ok = 0, IoError = 1, Unsupported = 2 };

struct Header {
  std::uint32_t type;
  std::uint32_t reserved;
  std::uint64_t sector;
};
struct RangeSegment {
  std::uint64_t sector;
  std::uint32_t sectors;
  std::uint32_t flags;
};
constexpr std::uint32_t kUnmapFlag = 1;
constexpr std::uint32_t kMaxRangeSectors = (1u << 30) / 512;  // 1 GiB per discard or zero request
constexpr std::size_t kIdBytes = 20;
constexpr std::size_t kConfigBytes = 60;
constexpr auto kRetryWaiting = std::chrono::seconds(1);

GuestStatus to_guest(DiskOutcome outcome) {
  switch (outcome) {
    case DiskOutcome::Done: return GuestStatus::Ok;
    case DiskOutcome::Unsupported: return GuestStatus::Unsupported;
    case DiskOutcome::Full:
    case DiskOutcome::Failed: break;
  }
  return GuestStatus::IoError;
}

}  // namespace

/// A chain that the disk works on.
struct Block::Pending {
  Chain chain;
  DiskRequest request{};
  bool flush_after = false;  ///< the driver did not take FLUSH: every write is written through
  bool flushing = false;     ///< its write is done, the flush after it is under way
  bool waits = false;        ///< counted in waiting_
};

/// One queue: what is in flight, its AsyncDisk and its timer.
class Block::Lane {
 public:
  Lane(Block& block, std::unique_ptr<AsyncDisk> disk, TimerFd timer)
      : block_(block), disk_(std::move(disk)), timer_(std::move(timer)), slots_(kQueueSize) {
    for (std::size_t i = 0; i < slots_.size(); ++i) free_.push_back(slots_.size() - 1 - i);
  }
  std::string_view io_kind() const { return disk_->kind(); }
  int io_fd() const { return disk_->event_fd(); }
  int timer_fd() const { return timer_.fd(); }

  void serve(Queue& queue);
  void reap(Queue& queue);
  void on_timer(Queue& queue);
  void quiesce(Queue& queue);

 private:
  enum class Taken : std::uint8_t { Yes, Throttled };
  enum class Charge : std::uint8_t { Limit, Free };
  Taken take(Queue& queue, Chain chain, Charge charge = Charge::Limit);
  GuestStatus translate(Chain& chain, const Header& header, DiskRequest& request);
  GuestStatus translate_range(Chain& chain, const Header& header, DiskRequest& request);
  void answer_id(Chain chain);
  void start(Pending pending);
  void finish(Pending& pending, GuestStatus status);
  void collect();
  bool must_wait(DiskOutcome outcome) const;
  void wait(std::size_t slot, DiskOutcome outcome);
  void no_longer_waits(Pending& pending);
  void reopen(Queue& queue);

  Block& block_;
  std::unique_ptr<AsyncDisk> disk_;
  TimerFd timer_;
  std::vector<std::optional<Pending>> slots_;  // by tag
  std::vector<std::size_t> free_;
  std::vector<std::size_t> waiting_;  // tags to be tried again
  std::vector<DiskCompletion> completions_;
  bool submitted_again_ = false;  // a completion led to another request

 public:
  std::vector<std::uint16_t> suspended;  ///< heads of requests that were waiting when it stopped
};

void Block::Lane::serve(Queue& queue) {
  if (!suspended.empty()) reopen(queue);
  while (!free_.empty()) {
    auto chain = queue.pop();
    if (!chain) break;
    if (take(queue, std::move(*chain)) == Taken::Throttled) break;
  }
  reap(queue);
}

/// Reads the request, and either answers it at once or starts it.
Block::Lane::Taken Block::Lane::take(Queue& queue, Chain chain, Charge charge) {
  const auto header = chain.read_object<Header>();
  if (!header.ok() || chain.writable_bytes() == 0) {
    ++block_.counters_.bad_chains;
    return Taken::Yes;
  }
  const std::uint64_t bytes = chain.readable_bytes() + chain.writable_bytes() - 1;
  if (charge == Charge::Limit) {
    if (const auto wait = block_.limiter_.take(bytes); wait.count() > 0) {
      ++block_.counters_.throttled;
      queue.put_back(std::move(chain));
      timer_.arm(wait);
      return Taken::Throttled;
    }
  }
  if (header.value().type == kGetId) {
    answer_id(std::move(chain));
    return Taken::Yes;
  }
  Pending pending{.chain = std::move(chain)};
  const auto status = translate(pending.chain, header.value(), pending.request);
  if (status == GuestStatus::Ok)
    start(std::move(pending));
  else
    finish(pending, status);
  return Taken::Yes;
}

GuestStatus Block::Lane::translate(Chain& chain, const Header& header, DiskRequest& request) {
  if (header.sector > ~std::uint64_t{0} / kSectorBytes) return GuestStatus::IoError;
  request.offset = header.sector * kSectorBytes;
  switch (header.type) {
    case kIn:
      request.kind = DiskRequest::Kind::Read;
      request.length = chain.writable_bytes() - 1;
      break;
    case kOut:
      request.kind = DiskRequest::Kind::Write;
      request.length = chain.readable_bytes();
      break;
    case kFlushCache: request.kind = DiskRequest::Kind::Flush; return GuestStatus::Ok;
    case kDiscardRange:
    case kWriteZeroesRange: return translate_range(chain, header, request);
    default: return GuestStatus::Unsupported;
  }
  if (request.length == 0 || request.length % kSectorBytes != 0 ||
      !block_.disk_.check_range(request.offset, request.length).ok())
    return GuestStatus::IoError;
  if (request.kind == DiskRequest::Kind::Read) {
    chain.take_writable(request.length, request.ranges);
  } else {
    if (block_.disk_.read_only()) return GuestStatus::IoError;
    chain.take_readable(request.length, request.ranges);
  }
  return GuestStatus::Ok;
}

GuestStatus Block::Lane::translate_range(Chain& chain, const Header& header, DiskRequest& request) {
  const auto segment = chain.read_object<RangeSegment>();
  if (!segment.ok() || chain.readable_bytes() != 0) return GuestStatus::IoError;
  const auto [sector, sectors, flags] = segment.value();
  const bool zeroes = header.type == kWriteZeroesRange;
  if ((flags & ~kUnmapFlag) != 0 || (!zeroes && flags != 0)) return GuestStatus::Unsupported;
  if (sectors == 0 || sectors > kMaxRangeSectors || sector > ~std::uint64_t{0} / kSectorBytes)
    return GuestStatus::IoError;
  request.kind = zeroes ? DiskRequest::Kind::WriteZeroes : DiskRequest::Kind::Discard;
  request.unmap = (flags & kUnmapFlag) != 0 ? Disk::Unmap::Yes : Disk::Unmap::No;
  request.offset = sector * kSectorBytes;
  request.length = sectors * kSectorBytes;
  if (block_.disk_.read_only() || !block_.disk_.check_range(request.offset, request.length).ok())
    return GuestStatus::IoError;
  return GuestStatus::Ok;
}

void Block::Lane::answer_id(Chain chain) {
  std::array<char, kIdBytes> id{};
  block_.options_.serial.copy(id.data(), id.size());
  const auto bytes = std::as_bytes(std::span(id));
  Pending pending{.chain = std::move(chain)};
  const auto room = pending.chain.writable_bytes() - 1;
  const bool fits = pending.chain.write(bytes.first(std::min(room, bytes.size()))).ok();
  finish(pending, fits ? GuestStatus::Ok : GuestStatus::IoError);
}

void Block::Lane::start(Pending pending) {
  const std::size_t slot = free_.back();
  free_.pop_back();
  pending.request.tag = slot;
  pending.flush_after = (block_.features_ & kFlush) == 0 &&
                        pending.request.kind != DiskRequest::Kind::Read &&
                        pending.request.kind != DiskRequest::Kind::Flush;
  disk_->submit(pending.request);
  slots_[slot] = std::move(pending);
}

void Block::Lane::finish(Pending& pending, GuestStatus status) {
  using Kind = DiskRequest::Kind;
  auto& counters = block_.counters_;
  if (status != GuestStatus::Ok) {
    ++counters.errors;
  } else {
    switch (pending.request.kind) {
      case Kind::Read:
        ++counters.reads;
        counters.read_bytes += pending.request.length;
        break;
      case Kind::Write:
        ++counters.writes;
        counters.written_bytes += pending.request.length;
        break;
      case Kind::Flush: ++counters.flushes; break;
      case Kind::Discard:
      case Kind::WriteZeroes: ++counters.discards; break;
    }
  }
  const auto byte = static_cast<std::byte>(status);
  (void)pending.chain.write_last(std::span(&byte, 1));  // take() saw that there is room
  pending.chain.finish();
}

bool Block::Lane::must_wait(DiskOutcome outcome) const {
  return outcome == DiskOutcome::Full || (outcome == DiskOutcome::Failed &&
                                          block_.options_.on_error == BlockOptions::OnError::Wait);
}

/// Moves completions to the guest, except for those that are tried again.
void Block::Lane::collect() {
  completions_.clear();
  disk_->reap(completions_);
  for (const auto& [tag, outcome] : completions_) {
    auto& pending = *slots_[tag];
    if (must_wait(outcome)) {
      wait(tag, outcome);
      continue;
    }
    if (outcome == DiskOutcome::Done && pending.flush_after &&
        !std::exchange(pending.flushing, true)) {
      disk_->submit({.kind = DiskRequest::Kind::Flush, .tag = tag});
      submitted_again_ = true;
      continue;
    }
    finish(pending, to_guest(outcome));
    no_longer_waits(pending);
    slots_[tag].reset();
    free_.push_back(tag);
  }
}

void Block::Lane::wait(std::size_t slot, DiskOutcome outcome) {
  auto& pending = *slots_[slot];
  pending.flushing = false;  // from the write on: a flush that failed may have lost it
  waiting_.push_back(slot);
  timer_.arm(kRetryWaiting);
  block_.waits_for_errors_ = outcome == DiskOutcome::Failed;
  if (std::exchange(pending.waits, true)) return;
  ++block_.counters_.waited;
  if (block_.waiting_++ == 0 && block_.options_.events != nullptr)
    block_.options_.events->waiting_changed();
}

void Block::Lane::no_longer_waits(Pending& pending) {
  if (!std::exchange(pending.waits, false)) return;
  if (--block_.waiting_ == 0 && block_.options_.events != nullptr)
    block_.options_.events->waiting_changed();
}

void Block::Lane::reap(Queue& queue) {
  do {
    disk_->kick();
    collect();
  } while (std::exchange(submitted_again_, false));
  queue.signal_used();
}

void Block::Lane::on_timer(Queue& queue) {
  timer_.drain();
  for (const std::size_t slot : std::exchange(waiting_, {})) disk_->submit(slots_[slot]->request);
  serve(queue);
}

/// Requests that waited when the queue stopped come first; the limit has counted them already.
void Block::Lane::reopen(Queue& queue) {
  for (const std::uint16_t head : std::exchange(suspended, {}))
    if (auto chain = queue.reopen(head)) (void)take(queue, std::move(*chain), Charge::Free);
}

void Block::Lane::quiesce(Queue& queue) {
  while (free_.size() + waiting_.size() != slots_.size()) {
    disk_->kick();
    disk_->settle();
    collect();
  }
  for (const std::size_t slot : std::exchange(waiting_, {})) {
    auto& pending = *slots_[slot];
    suspended.push_back(queue.suspend(std::move(pending.chain)));
    no_longer_waits(pending);
    slots_[slot].reset();
    free_.push_back(slot);
  }
  timer_.disarm();
  queue.signal_used();
}

Result<std::unique_ptr<Block>> Block::create(Disk& disk, const BlockOptions& options) {
  if (options.serial.size() > kIdBytes || options.queues == 0 || options.queues > kMaxQueues)
    return Error{Code::InvalidArgument, "BLOCK_OPTIONS",
                 "a serial or number of queues out of range"};
  std::unique_ptr<Block> block(new Block(disk, options));
  for (std::uint16_t i = 0; i < options.queues; ++i) {
    auto io = options.io == BlockOptions::Io::Auto
                  ? TRY(make_async_disk(disk, kQueueSize, options.prepare_thread))
                  : (options.io == BlockOptions::Io::Threads
                         ? TRY(make_threaded_disk(disk, 2, options.prepare_thread))
                         : make_inline_disk(disk));
    auto timer = TRY(TimerFd::create());
    block->lanes_.push_back(std::make_unique<Lane>(*block, std::move(io), std::move(timer)));
  }
  return block;
}

Block::Block(Disk& disk, const BlockOptions& options)
    : disk_(disk), options_(options), queue_sizes_(options.queues, kQueueSize) {
  limiter_.set(options.limit);
}

Block::~Block() = default;

Traits Block::traits() const {
  std::uint64_t features = kSegMax | kBlockSize | kFlush | kTopology;
  if (disk_.read_only()) {
    features |= kReadOnly;
  } else {
    features |= kWriteZeroes;
    if (disk_.discard() != nullptr) features |= kDiscard;
  }
  if (options_.queues > 1) features |= kMultiQueue;
  return {.device_id = kBlockDevice,
          .features = features,
          .queue_sizes = queue_sizes_,
          .config_size = kConfigBytes,
          .queues_per_worker = 1};
}

std::string_view Block::io_kind() const {
  return lanes_.front()->io_kind();
}

void Block::activate(const Activation& activation) {
  features_ = activation.features;
  Lock lock(mutex_);
  interrupts_ = activation.interrupts;
}

void Block::reset() {
  features_ = 0;
  for (auto& lane : lanes_) lane->suspended.clear();
  Lock lock(mutex_);
  interrupts_ = nullptr;
}

void Block::announce_size() {
  Lock lock(mutex_);
  if (interrupts_ != nullptr) interrupts_->config_changed();
}

void Block::serve(std::uint16_t index, Queue& queue) {
  lanes_[index]->serve(queue);
}

// Tokens: twice the queue for its AsyncDisk, one more for its timer.
std::vector<EventSource> Block::event_sources() {
  std::vector<EventSource> sources;
  for (std::uint16_t i = 0; i < lanes_.size(); ++i) {
    if (lanes_[i]->io_fd() >= 0) sources.push_back({lanes_[i]->io_fd(), i, i * 2u});
    sources.push_back({lanes_[i]->timer_fd(), i, i * 2u + 1});
  }
  return sources;
}

void Block::on_event(std::uint32_t token, QueueSet& queues) {
  const auto index = static_cast<std::uint16_t>(token / 2);
  Queue* queue = queues.find(index);
  if (queue == nullptr) return;
  if (token % 2 == 0)
    lanes_[index]->serve(*queue);  // also takes up what found no free slot
  else
    lanes_[index]->on_timer(*queue);
}

void Block::quiesce(QueueSet& queues) {
  for (std::uint16_t i = 0; i < lanes_.size(); ++i)
    if (Queue* queue = queues.find(i)) lanes_[i]->quiesce(*queue);
}

void Block::read_config(std::uint32_t offset, std::span<std::byte> out) {
  std::array<std::byte, kConfigBytes> config{};
  const auto put = [&config](std::size_t at, auto value) {
    store_le(std::span(config).subspan(at, sizeof value), value);
  };
  put(0, disk_.size_bytes() / kSectorBytes);
  put(12, std::uint32_t{kQueueSize - 2});  // seg_max: header and status come on top
  put(20, std::uint32_t{kSectorBytes});
  put(24, std::uint8_t{3});  // physical blocks of 4 KiB
  put(26, std::uint16_t{8});
  put(28, std::uint32_t{128});  // 64 KiB is a good size, and the cluster of a qcow2
  put(34, options_.queues);
  put(36, kMaxRangeSectors);
  put(40, std::uint32_t{1});
  put(44, std::uint32_t{8});
  put(48, kMaxRangeSectors);
  put(52, std::uint32_t{1});
  put(56, std::uint8_t{1});
  copy_config(config, offset, out);
}

std::string Block::save_state() const {
  v1::BlockState state;
  state.set_version(1);
  state.set_size_bytes(disk_.size_bytes());
  state.set_read_only(disk_.read_only());
  state.set_queues(options_.queues);
  state.set_discard(disk_.discard() != nullptr);
  for (std::uint32_t i = 0; i < lanes_.size(); ++i)
    for (const std::uint16_t head : lanes_[i]->suspended) state.add_waiting(i << 16 | head);
  return state.SerializeAsString();
}

/// The disk must be what the guest was told it is.
Status Block::load_state(std::string_view bytes) {
  v1::BlockState state;
  if (!state.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || state.version() != 1)
    return bad_state("not the state of a block device that we know");
  if (state.size_bytes() != disk_.size_bytes()) return bad_state("the disk has another size here");
  if (state.read_only() != disk_.read_only())
    return bad_state("the disk is writable on one side only");
  if (state.queues() != options_.queues)
    return bad_state("the disk has another number of queues here");
  if (state.discard() && disk_.discard() == nullptr)
    return bad_state("the disk cannot discard here");
  if (static_cast<std::size_t>(state.waiting_size()) > lanes_.size() * kQueueSize)
    return bad_state("more requests wait than a disk can have");
  for (auto& lane : lanes_) lane->suspended.clear();
  for (const std::uint32_t entry : state.waiting()) {
    if ((entry >> 16) >= lanes_.size() || (entry & 0xffff) >= kQueueSize)
      return bad_state("a request waits in a queue that the disk does not have");
    lanes_[entry >> 16]->suspended.push_back(static_cast<std::uint16_t>(entry));
  }
  return {};
}

}  // namespace reeve::core::virtio
