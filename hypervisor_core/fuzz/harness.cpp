#include "hypervisor_core/fuzz/harness.h"

#include <array>

#include "base/check.h"

namespace reeve::core::fuzz {

using namespace virtio;

namespace {

constexpr std::uint64_t kRam = 512u << 10;
constexpr Gpa kHighRam = 1u << 20;
constexpr std::uint64_t kHighRamBytes = 64u << 10;
constexpr std::uint16_t kRingSize = 32;
constexpr Gpa kRingBytes = 0x1000;  // descriptors at 0, available at 0x400, used at 0x800
constexpr Gpa kData = 0x20000;      // behind the rings of 32 queues

/// Mostly addresses in RAM, and some that are not: the hole, the local APIC, the end of everything.
Gpa address(Input& input) {
  const auto kind = input.number<std::uint8_t>();
  const auto offset = input.number<std::uint16_t>();
  switch (kind % 16) {
    case 0: return kHighRam + kHighRamBytes - offset % 64;
    case 1: return kRam - offset % 64;
    case 2: return 0xfee00000 + offset;
    case 3: return ~Gpa{0} - offset;
    case 4: return offset;  // the rings themselves
    case 5: return kHighRam + offset;
    default: return kData + offset * 4u;
  }
}

std::uint32_t length(Input& input) {
  const auto kind = input.number<std::uint8_t>();
  const auto value = input.number<std::uint16_t>();
  switch (kind % 8) {
    case 0: return 0;
    case 1: return 0xffff'ffffu - value;
    case 2: return value;
    case 3: return value * 16u;
    default: return value % 256 + 1;
  }
}

}  // namespace

GuestMemory& shared_memory() {
  static const std::unique_ptr<GuestMemory> memory = [] {
    const std::array<MemoryRange, 2> ranges{{{0, kRam}, {kHighRam, kHighRamBytes}}};
    auto made = GuestMemory::create(ranges);
    REEVE_CHECK(made.ok());
    return std::move(made).value();
  }();
  return *memory;
}

DeviceRun::DeviceRun(Device& device, GuestMemory& memory) : device_(device), memory_(memory) {
  REEVE_CHECK(memory_.fill(0, kRam, std::byte{0}));
  REEVE_CHECK(memory_.fill(kHighRam, kHighRamBytes, std::byte{0}));
  const auto sizes = device.traits().queue_sizes;
  REEVE_CHECK(sizes.size() * kRingBytes <= kData);
  for (std::size_t i = 0; i < sizes.size(); ++i)
    rings_.push_back({.base = i * kRingBytes, .size = std::min(sizes[i], kRingSize)});
}

DeviceRun::~DeviceRun() {
  stop();
}

void DeviceRun::start(bool keep_positions) {
  std::vector<QueuePosition> positions(rings_.size());
  for (std::size_t i = 0; i < queues_.size() && keep_positions; ++i)
    positions[i] = queues_[i]->position();
  queues_.clear();
  for (std::size_t i = 0; i < rings_.size(); ++i) {
    auto& ring = rings_[i];
    if (!keep_positions) ring.available = 0;
    auto queue = Queue::create(memory_, *this,
                               {.index = static_cast<std::uint16_t>(i),
                                .size = ring.size,
                                .descriptors = ring.base,
                                .available = ring.base + 0x400,
                                .used = ring.base + 0x800,
                                .features = features_},
                               positions[i]);
    REEVE_CHECK(queue.ok());
    queues_.push_back(std::move(queue).value());
  }
}

void DeviceRun::stop() {
  device_.quiesce(*this);
  for (const auto& queue : queues_) REEVE_CHECK(queue->in_flight() == 0);
}

void DeviceRun::play(Input& input) {
  features_ = (device_.traits().features | kCommonFeatures) & ~input.number<std::uint64_t>();
  features_ |= kVersion1;
  device_.activate({features_, this});
  start(false);
  for (int i = 0; i < kMaxSteps && !input.empty(); ++i) step(input);
  for (std::uint16_t i = 0; i < queues_.size(); ++i) device_.serve(i, *queues_[i]);
  for (const auto& source : device_.event_sources()) device_.on_event(source.token, *this);
  stop();
  queues_.clear();
  device_.reset();
}

void DeviceRun::step(Input& input) {
  const auto choice = input.number<std::uint8_t>();
  switch (choice % 16) {
    case 0: {
      const Gpa at = address(input);
      (void)memory_.write(at, input.take(input.number<std::uint8_t>()));
      break;
    }
    case 1: return write_descriptor(input);
    case 2: return change_available(input);
    case 3: return touch_config(input);
    case 4: return save_and_restore(input);
    case 5: {
      const auto sources = device_.event_sources();
      if (!sources.empty())
        device_.on_event(sources[input.number<std::uint8_t>() % sources.size()].token, *this);
      break;
    }
    case 6:
    case 7:
    case 8:
    case 9: {
      const auto index = index_of(ring(input));
      return device_.serve(index, *queues_[index]);
    }
    default: return offer_chain(input);
  }
}

/// A chain as a driver would make it: readable buffers with bytes of the input, then writable ones.
void DeviceRun::offer_chain(Input& input) {
  Ring& to = ring(input);
  const auto shape = input.number<std::uint8_t>();
  const unsigned readable = shape % 4, writable = shape / 4 % 4;
  if (readable + writable == 0) return;
  if (to.next_descriptor + readable + writable > to.size) to.next_descriptor = 0;
  const std::uint16_t head = to.next_descriptor;
  Gpa at = kData + input.number<std::uint16_t>() * 4u;
  for (unsigned i = 0; i < readable + writable; ++i) {
    Descriptor descriptor{.address = at};
    if (i < readable) {
      const auto bytes = input.take(input.number<std::uint8_t>() % 96 + 1u);
      (void)memory_.write(at, bytes);
      descriptor.length = static_cast<std::uint32_t>(bytes.size());
    } else {
      descriptor.length = 1u << input.number<std::uint8_t>() % 15;
      descriptor.flags = kDescriptorWrite;
    }
    if (i + 1 < readable + writable) descriptor.flags |= kDescriptorNext;
    descriptor.next = static_cast<std::uint16_t>(to.next_descriptor + 1);
    (void)memory_.write_object(to.base + 16u * to.next_descriptor++, descriptor);
    at += (descriptor.length + 7u) & ~Gpa{7};
  }
  (void)memory_.write_le<std::uint16_t>(to.base + 0x404 + 2u * (to.available % to.size), head);
  (void)memory_.store_release<std::uint16_t>(to.base + 0x402, ++to.available);
}

void DeviceRun::write_descriptor(Input& input) {
  const Ring& to = ring(input);
  const Descriptor descriptor{.address = address(input),
                              .length = length(input),
                              .flags = static_cast<std::uint16_t>(input.number<std::uint8_t>() % 8),
                              .next = input.number<std::uint8_t>()};
  (void)memory_.write_object(to.base + 16u * (input.number<std::uint8_t>() % to.size), descriptor);
}

void DeviceRun::change_available(Input& input) {
  Ring& to = ring(input);
  (void)memory_.write_le<std::uint16_t>(to.base + 0x404 + 2u * (to.available % to.size),
                                        input.number<std::uint8_t>());
  const auto step = input.number<std::uint8_t>();
  to.available = static_cast<std::uint16_t>(to.available + (step < 240 ? 1 : step));
  (void)memory_.store_release<std::uint16_t>(to.base + 0x402, to.available);
  (void)memory_.write_le<std::uint16_t>(to.base + 0x400, input.number<std::uint8_t>() % 2);
}

void DeviceRun::touch_config(Input& input) {
  const auto offset = input.number<std::uint8_t>() % 2 == 0 ? input.number<std::uint8_t>()
                                                            : input.number<std::uint32_t>();
  device_.write_config(offset, input.take(input.number<std::uint8_t>() % 9));
  std::array<std::byte, 16> out{};
  device_.read_config(offset, std::span(out).first(input.number<std::uint8_t>() % 17));
}

/// Stops the device and starts it again where it was, anew, or with a state made of the input.
void DeviceRun::save_and_restore(Input& input) {
  stop();
  const auto kind = input.number<std::uint8_t>() % 4;
  const std::string state = device_.save_state();
  if (kind == 0) {
    device_.reset();
    device_.activate({features_, this});
  } else if (kind == 1) {
    const auto bytes = input.take(input.number<std::uint8_t>());
    (void)device_.load_state({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  } else {
    REEVE_CHECK(device_.load_state(state).ok());  // what we saved we can load
  }
  start(kind != 0);
  if (kind == 0)
    for (auto& ring : rings_) (void)memory_.fill(ring.base + 0x400, 0x800, std::byte{0});
}

}  // namespace reeve::core::fuzz
