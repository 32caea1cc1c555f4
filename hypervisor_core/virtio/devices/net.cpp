#include "hypervisor_core/virtio/devices/net.h"

#include <algorithm>

#include "base/bytes.h"
#include "hypervisor_core/net/gather.h"
#include "reeve/core/v1/devices.pb.h"

namespace reeve::core::virtio {
namespace {

enum Feature : std::uint64_t {
  kChecksum = 1u << 0,
  kGuestChecksum = 1u << 1,
  kControlOffloads = 1u << 2,
  kMtu = 1u << 3,
  kMac = 1u << 5,
  kGuestTso4 = 1u << 7,
  kGuestTso6 = 1u << 8,
  kHostTso4 = 1u << 11,
  kHostTso6 = 1u << 12,
  kMergeableBuffers = 1u << 15,
  kStatus = 1u << 16,
  kControlQueue = 1u << 17,
  kMultiQueue = 1u << 22,
};
constexpr std::uint64_t kGuestOffloadBits = kGuestChecksum | kGuestTso4 | kGuestTso6;

constexpr std::uint8_t kClassMultiQueue = 4;
constexpr std::uint8_t kClassOffloads = 5;
constexpr std::size_t kConfigBytes = 12;
constexpr std::uint16_t kLinkUp = 1;
constexpr std::size_t kBuffersOffset = 10;  // num_buffers in virtio_net_hdr
constexpr std::size_t kEnoughRanges = 512;  // a chain more and the kernel takes them still (1024)
constexpr int kBudget = 64;                 // frames in one direction before the other has its turn

struct ControlHeader {
  std::uint8_t family;
  std::uint8_t command;
};

}  // namespace

/// One receive and one transmit queue, on one worker.
class Net::Pair {
 public:
  Pair(Net& net, std::uint16_t index)
      : net_(net), index_(index), overflow_(kNetHeaderBytes + kMaxFrameBytes) {}

  /// Moves frames both ways until nothing is left or nothing goes on.
  void pump(Queue* receive_queue, Queue* transmit_queue) {
    bool more = true;
    while (more) {
      more = receive_queue != nullptr && receive_some(*receive_queue);
      more = (transmit_queue != nullptr && transmit_some(*transmit_queue)) || more;
    }
    if (receive_queue != nullptr) receive_queue->signal_used();
    if (transmit_queue != nullptr) transmit_queue->signal_used();
  }
  void forget() { waiting_.clear(); }

 private:
  bool receive_some(Queue& queue);
  bool receive_one(Queue& queue);
  bool borrow(Queue& queue);
  void put_back_from(Queue& queue, std::size_t used);
  void hand_over(Queue& queue, std::size_t bytes);
  bool deliver_waiting(Queue& queue);
  bool deliver(Queue& queue, std::span<const std::byte> frame);
  bool transmit_some(Queue& queue);

  Net& net_;
  const std::uint16_t index_;
  std::size_t expected_ = 0;         ///< bytes of a frame: the last ones', the largest longest
  std::vector<std::byte> overflow_;  ///< what did not fit into the buffers for that
  std::vector<std::byte> waiting_;   ///< header and frame that found no buffers
  std::vector<iovec> ranges_;
  std::vector<Chain> chains_;
};

/// True when the budget ran out with more to do.
bool Net::Pair::receive_some(Queue& queue) {
  for (int i = 0; i < kBudget; ++i)
    if (!deliver_waiting(queue) || !receive_one(queue)) return false;
  return true;
}

bool Net::Pair::deliver_waiting(Queue& queue) {
  if (waiting_.empty()) return true;
  if (!deliver(queue, waiting_)) return false;
  waiting_.clear();
  return true;
}

/// Copies a frame into as many buffers as it takes. False, and nothing taken, when there are too
/// few.
bool Net::Pair::deliver(Queue& queue, std::span<const std::byte> frame) {
  std::size_t done = 0;
  chains_.clear();
  while (done < frame.size()) {
    auto chain = queue.pop();
    if (!chain) break;
    const bool enough = net_.has(kMergeableBuffers) || chain->writable_bytes() >= frame.size();
    if (!enough ||
        chain->writable_bytes() == 0) {  // no room for this frame will ever come: drop it
      ++net_.counters_.dropped_in;
      queue.put_back(std::move(*chain));
      put_back_from(queue, 0);
      // A driver that offers buffers too small for any frame loses them, so that we do not turn in
      // circles.
      if (auto useless = queue.pop()) ++net_.counters_.bad_chains;
      return true;
    }
    const std::size_t step = std::min(chain->writable_bytes(), frame.size() - done);
    (void)chain->write(frame.subspan(done, step));
    done += step;
    chains_.push_back(std::move(*chain));
  }
  if (done < frame.size()) {
    put_back_from(queue, 0);
    return false;
  }
  std::array<std::byte, 2> buffers{};
  store_le(buffers, static_cast<std::uint16_t>(chains_.size()));
  chains_.front().rewrite(kBuffersOffset, buffers);
  for (auto& chain : chains_) chain.finish();
  chains_.clear();
  ++net_.counters_.received_frames;
  net_.counters_.received_bytes += frame.size() - kNetHeaderBytes;
  return true;
}

/// Takes buffers for a frame like the last ones; at least one. False when there is none.
bool Net::Pair::borrow(Queue& queue) {
  ranges_.clear();
  for (std::size_t room = 0;;) {
    auto chain = queue.pop();
    if (!chain) break;
    const std::size_t bytes = chain->writable_bytes();
    if (bytes == 0 && chains_.empty()) {
      ++net_.counters_.bad_chains;
      continue;
    }
    if (bytes == 0) {
      queue.put_back(std::move(*chain));
      break;
    }
    chain->take_writable(bytes, ranges_);
    room += bytes;
    chains_.push_back(std::move(*chain));
    if (!net_.has(kMergeableBuffers) || room >= expected_ || ranges_.size() >= kEnoughRanges) break;
  }
  return !chains_.empty();
}

/// Puts back all but the first `used` of the chains, the last one first.
void Net::Pair::put_back_from(Queue& queue, std::size_t used) {
  for (; chains_.size() > used; chains_.pop_back()) {
    chains_.back().shorten(0);
    queue.put_back(std::move(chains_.back()));
  }
}

/// Tells the driver that the first `bytes` of the borrowed buffers are a frame.
void Net::Pair::hand_over(Queue& queue, std::size_t bytes) {
  std::size_t used = 0;
  for (std::size_t left = bytes; left > 0; ++used) {
    const std::size_t step = std::min(left, chains_[used].written_bytes());
    chains_[used].shorten(step);
    left -= step;
  }
  put_back_from(queue, used);
  std::array<std::byte, 2> buffers{};
  store_le(buffers, static_cast<std::uint16_t>(used));
  scatter(ranges_, kBuffersOffset, buffers);
  for (auto& chain : chains_) chain.finish();
  chains_.clear();
  ++net_.counters_.received_frames;
  net_.counters_.received_bytes += bytes - kNetHeaderBytes;
}

bool Net::Pair::receive_one(Queue& queue) {
  if (!borrow(queue)) return false;
  const std::size_t room = gather_length(ranges_);
  ranges_.push_back({overflow_.data(), overflow_.size()});
  std::size_t bytes = 0;
  const auto outcome = net_.backend_.receive(index_, ranges_, bytes);
  if (outcome != NetOutcome::Done) {
    put_back_from(queue, 0);
    if (outcome == NetOutcome::Lost) net_.lose_backend();
    if (outcome == NetOutcome::Dropped) ++net_.counters_.dropped_in;
    return outcome == NetOutcome::Dropped;
  }
  expected_ = std::max(bytes, expected_ - expected_ / 8);
  if (bytes <= room && bytes >= kNetHeaderBytes) {
    hand_over(queue, bytes);
    return true;
  }
  // Larger than these buffers: collect it and spread it over more.
  ranges_.pop_back();
  waiting_.clear();
  gather_copy(ranges_, 0, waiting_);
  waiting_.resize(std::min(room, bytes));
  if (bytes > room)
    waiting_.insert(waiting_.end(), overflow_.begin(),
                    overflow_.begin() + static_cast<std::ptrdiff_t>(bytes - room));
  put_back_from(queue, 0);
  if (waiting_.size() < kNetHeaderBytes) waiting_.clear();  // not a frame
  return deliver_waiting(queue);
}

bool Net::Pair::transmit_some(Queue& queue) {
  net_.backend_.flush(index_);
  for (int i = 0; i < kBudget; ++i) {
    auto chain = queue.pop();
    if (!chain) return false;
    const std::size_t bytes = chain->readable_bytes();
    ranges_.clear();
    chain->take_readable(bytes, ranges_);
    if (bytes <= kNetHeaderBytes || bytes > kNetHeaderBytes + kMaxFrameBytes ||
        ranges_.size() > 1000) {
      ++net_.counters_.bad_chains;
      continue;
    }
    switch (net_.lost_ ? NetOutcome::Dropped : net_.backend_.send(index_, ranges_)) {
      case NetOutcome::Done:
        ++net_.counters_.sent_frames;
        net_.counters_.sent_bytes += bytes - kNetHeaderBytes;
        break;
      case NetOutcome::WouldBlock: queue.put_back(std::move(*chain)); return false;
      case NetOutcome::Lost: net_.lose_backend(); [[fallthrough]];
      case NetOutcome::Dropped: ++net_.counters_.dropped_out; break;
    }
  }
  return true;
}

Result<std::unique_ptr<Net>> Net::create(NetBackend& backend, const NetOptions& options) {
  if (backend.pairs() == 0 || backend.pairs() > kMaxPairs)
    return Error{Code::InvalidArgument, "NIC_PAIRS", "a card has 1 to 8 pairs of queues"};
  if ((options.mac[0] & 1) != 0 || options.mac == std::array<std::uint8_t, 6>{})
    return Error{Code::InvalidArgument, "NIC_MAC", "a card needs an address of its own"};
  return std::unique_ptr<Net>(new Net(backend, options));
}

Net::Net(NetBackend& backend, const NetOptions& options)
    : backend_(backend), options_(options), queue_sizes_(2u * backend.pairs(), kQueueSize) {
  queue_sizes_.push_back(64);  // control
  for (std::uint16_t i = 0; i < backend.pairs(); ++i)
    pairs_.push_back(std::make_unique<Pair>(*this, i));
}

Net::~Net() = default;

Traits Net::traits() const {
  std::uint64_t features = kMac | kStatus | kMergeableBuffers | kControlQueue;
  const auto offloads = backend_.offloads();
  if (offloads.checksum) features |= kChecksum | kGuestChecksum | kControlOffloads;
  if (offloads.checksum && offloads.tso4) features |= kHostTso4 | kGuestTso4;
  if (offloads.checksum && offloads.tso6) features |= kHostTso6 | kGuestTso6;
  if (pairs_.size() > 1) features |= kMultiQueue;
  if (options_.mtu != 0) features |= kMtu;
  return {.device_id = kNetDevice,
          .features = features,
          .queue_sizes = queue_sizes_,
          .config_size = kConfigBytes,
          .queues_per_worker = 2};
}

bool Net::apply_offloads(std::uint64_t guest) {
  guest_offloads_ = guest & kGuestOffloadBits;
  const bool checksum = (guest & kGuestChecksum) != 0;
  return backend_
      .set_guest_offloads({.checksum = checksum,
                           .tso4 = checksum && (guest & kGuestTso4) != 0,
                           .tso6 = checksum && (guest & kGuestTso6) != 0})
      .ok();
}

void Net::activate(const Activation& activation) {
  features_ = activation.features;
  (void)apply_offloads(activation.features);
  {
    Lock lock(mutex_);
    interrupts_ = activation.interrupts;
  }
}

void Net::reset() {
  features_ = 0;
  (void)apply_offloads(0);
  (void)backend_.use_pairs(1);
  used_pairs_ = 1;
  for (auto& pair : pairs_) pair->forget();
  Lock lock(mutex_);
  interrupts_ = nullptr;
}

void Net::set_link(bool up) {
  if (link_up_.exchange(up) == up) return;
  Lock lock(mutex_);
  if (interrupts_ != nullptr) interrupts_->config_changed();
}

void Net::lose_backend() {
  if (lost_.exchange(true)) return;
  set_link(false);
  if (options_.events != nullptr) options_.events->backend_lost();
}

std::uint16_t Net::control_queue() const {
  return static_cast<std::uint16_t>(has(kMultiQueue) ? 2 * pairs_.size() : 2);
}

/// A queue's kick is served through its pair when the other queue is known too; alone otherwise.
void Net::serve(std::uint16_t index, Queue& queue) {
  if (index == control_queue()) return control(queue);
  if (index > control_queue()) return;
  auto& pair = *pairs_[index / 2];
  if (index % 2 == 0)
    pair.pump(&queue, nullptr);
  else
    pair.pump(nullptr, &queue);
}

std::vector<EventSource> Net::event_sources() {
  std::vector<EventSource> sources;
  for (std::uint16_t i = 0; i < pairs_.size(); ++i)
    sources.push_back({.fd = backend_.fd(i),
                       .queue = static_cast<std::uint16_t>(2 * i),
                       .token = i,
                       .writable = true});
  return sources;
}

void Net::on_event(std::uint32_t token, QueueSet& queues) {
  const auto first = static_cast<std::uint16_t>(2 * token);
  pairs_[token]->pump(queues.find(first), queues.find(static_cast<std::uint16_t>(first + 1)));
}

void Net::quiesce(QueueSet& /*queues*/) {}  // no chain is held between calls

void Net::control(Queue& queue) {
  while (auto chain = queue.pop()) {
    const auto answer = static_cast<std::byte>(obey(*chain) ? 0 : 1);
    if (!chain->write(std::span(&answer, 1)).ok()) ++counters_.bad_chains;
  }
  queue.signal_used();
}

bool Net::obey(Chain& chain) {
  const auto header = chain.read_object<ControlHeader>();
  if (!header.ok()) return false;
  if (header.value().family == kClassMultiQueue && header.value().command == 0) {
    const auto count = chain.read_object<std::uint16_t>();
    if (!count.ok() || count.value() == 0 || count.value() > pairs_.size() || !has(kMultiQueue))
      return false;
    used_pairs_ = count.value();
    return backend_.use_pairs(count.value()).ok();
  }
  if (header.value().family == kClassOffloads && header.value().command == 0) {
    const auto wanted = chain.read_object<std::uint64_t>();
    if (!wanted.ok() || !has(kControlOffloads)) return false;
    if ((wanted.value() & ~(features_.load() & kGuestOffloadBits)) != 0) return false;
    return apply_offloads(wanted.value());
  }
  return false;
}

void Net::read_config(std::uint32_t offset, std::span<std::byte> out) {
  std::array<std::byte, kConfigBytes> config{};
  for (std::size_t i = 0; i < options_.mac.size(); ++i)
    config[i] = static_cast<std::byte>(options_.mac[i]);
  store_le(std::span(config).subspan(6), link_up_ ? kLinkUp : std::uint16_t{0});
  store_le(std::span(config).subspan(8), static_cast<std::uint16_t>(pairs_.size()));
  store_le(std::span(config).subspan(10), options_.mtu);
  copy_config(config, offset, out);
}

std::string Net::save_state() const {
  v1::NetState state;
  state.set_version(1);
  state.set_guest_offloads(guest_offloads_);
  state.set_used_pairs(used_pairs_);
  return state.SerializeAsString();
}

Status Net::load_state(std::string_view bytes) {
  v1::NetState state;
  if (!state.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || state.version() != 1)
    return bad_state("not the state of a network card that we know");
  if (state.used_pairs() == 0 || state.used_pairs() > pairs_.size())
    return bad_state("the card used more queues than it has here");
  if ((state.guest_offloads() & ~(traits().features & kGuestOffloadBits)) != 0)
    return bad_state("the card used offloads that it does not have here");
  used_pairs_ = static_cast<std::uint16_t>(state.used_pairs());
  TRY(backend_.use_pairs(used_pairs_));
  if (!apply_offloads(state.guest_offloads())) return bad_state("the backend refuses the offloads");
  return {};
}

}  // namespace reeve::core::virtio
