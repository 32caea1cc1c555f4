#include "hypervisor_core/virtio/transport_pci.h"

#include <algorithm>
#include <utility>

#include <sys/eventfd.h>

#include "hypervisor_core/virtio/pci_layout.h"

namespace reeve::core::virtio {
namespace {

using namespace pci_layout;

constexpr std::uint16_t kVirtioVendor = 0x1af4;

pci::Identity identity_of(std::uint32_t device_id) {
  std::uint32_t class_code = 0xff0000;
  if (device_id == kNetDevice) class_code = 0x020000;
  if (device_id == kBlockDevice) class_code = 0x010000;
  if (device_id == kConsoleDevice) class_code = 0x078000;
  return {.vendor = kVirtioVendor,
          .device = static_cast<std::uint16_t>(0x1040 + device_id),
          .subsystem_vendor = kVirtioVendor,
          .subsystem = static_cast<std::uint16_t>(0x40 + device_id),
          .class_code = class_code,
          .revision = 1};
}

std::uint16_t vectors_for(const Traits& traits) {
  return static_cast<std::uint16_t>(
      std::min<std::size_t>(traits.queue_sizes.size() + 1, pci::Msix::kMaxVectors));
}

}  // namespace

/// BAR 0.
class TransportPci::Registers final : public IoDevice {
 public:
  explicit Registers(TransportPci& transport) : transport_(transport) {}
  std::string_view name() const override { return transport_.name(); }
  void read(std::uint64_t offset, std::span<std::byte> out) override {
    transport_.read_registers(offset, out);
  }
  void write(std::uint64_t offset, std::span<const std::byte> value) override {
    transport_.write_registers(offset, value);
  }

 private:
  TransportPci& transport_;
};

TransportPci::TransportPci(virtio::Device& device, const TransportWorld& world,
                           WorkerOptions workers)
    : device_(device),
      world_(world),
      worker_options_(std::move(workers)),
      traits_(device.traits()),
      offered_(traits_.features | kCommonFeatures),
      queue_count_(traits_.queue_sizes.size()),
      config_(identity_of(traits_.device_id)),
      msix_(world.partition, vectors_for(traits_)),
      registers_(std::make_unique<Registers>(*this)),
      vectors_(queue_count_ + 1) {
  add_capabilities();
  Lock lock(mutex_);
  clear_registers();
}

Result<std::unique_ptr<TransportPci>> TransportPci::create(virtio::Device& device,
                                                           const TransportWorld& world,
                                                           WorkerOptions workers) {
  std::unique_ptr<TransportPci> transport(new TransportPci(device, world, std::move(workers)));
  for (std::size_t i = 0; i < transport->queue_count_; ++i) {
    Fd kick(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!kick) return errno_error("eventfd");
    transport->kicks_.push_back(std::move(kick));
  }
  return transport;
}

TransportPci::~TransportPci() {
  stop_workers();
  detach_doorbells();
}

void TransportPci::add_capabilities() {
  add_virtio_capability(kCommonType, kCommon, kCommonSize);
  const std::array<std::uint8_t, 4> multiplier{kNotifyStride, 0, 0, 0};
  add_virtio_capability(kNotifyType, kNotify,
                        static_cast<std::uint32_t>(queue_count_) * kNotifyStride, multiplier);
  add_virtio_capability(kIsrType, kIsr, 1);
  if (traits_.config_size != 0)
    add_virtio_capability(kDeviceType, kDevice, std::min(traits_.config_size, kDeviceSize));
  const std::array<std::uint8_t, 4> window{};
  add_virtio_capability(kWindowType, 0, 0, window);
  config_.allow_writes(static_cast<std::uint16_t>(window_capability_ + kWindowOffset), ~0u, 4);
  config_.allow_writes(static_cast<std::uint16_t>(window_capability_ + kWindowLength), ~0u, 4);
  msix_.add_capability(config_, 1);
}

void TransportPci::add_virtio_capability(std::uint8_t type, std::uint32_t offset,
                                         std::uint32_t length, std::span<const std::uint8_t> tail) {
  std::vector<std::uint8_t> body(14);
  body[0] = static_cast<std::uint8_t>(16 + tail.size());
  body[1] = type;
  for (std::size_t i = 0; i < 4; ++i) {
    body[6 + i] = static_cast<std::uint8_t>(offset >> (8 * i));
    body[10 + i] = static_cast<std::uint8_t>(length >> (8 * i));
  }
  body.insert(body.end(), tail.begin(), tail.end());
  const std::uint8_t at = config_.add_capability(kVendorCapability, body);
  if (type == kWindowType) window_capability_ = at;
}

std::vector<pci::Bar> TransportPci::bars() {
  return {{.index = 0, .size = kRegisterBar, .target = registers_.get()},
          {.index = 1, .size = pci::Msix::kBarSize, .target = &msix_}};
}

void TransportPci::bar_moved(std::uint8_t index, std::optional<Gpa> base) {
  if (index != 0) return;
  detach_doorbells();
  if (base) attach_doorbells(*base);
}

void TransportPci::attach_doorbells(Gpa base) {
  auto* doorbells = world_.partition.doorbells();
  if (doorbells == nullptr) return;  // notify() then does their work
  for (std::size_t i = 0; i < kicks_.size(); ++i)
    (void)doorbells->attach(base + kNotify + i * kNotifyStride, kicks_[i].get());
  doorbell_base_ = base;
}

void TransportPci::detach_doorbells() {
  if (!doorbell_base_) return;
  auto* doorbells = world_.partition.doorbells();
  for (std::size_t i = 0; i < kicks_.size(); ++i)
    (void)doorbells->detach(*doorbell_base_ + kNotify + i * kNotifyStride, kicks_[i].get());
  doorbell_base_.reset();
}

void TransportPci::activate() {
  if (active_) return;
  std::uint64_t features = 0;
  {
    Lock lock(mutex_);
    features = common_.driver_features;
  }
  const auto made = make_queues({});
  if (!made.ok()) return needs_reset();
  active_ = true;
  device_.activate({.features = features, .interrupts = this});
  if (!start_workers().ok()) needs_reset();
}

Status TransportPci::make_queues(std::span<const QueuePosition> positions) {
  std::vector<QueueRegisters> queues;
  std::uint64_t features = 0;
  {
    Lock lock(mutex_);
    queues = queues_;
    features = common_.driver_features;
  }
  slots_.clear();
  for (std::size_t i = 0; i < queues.size(); ++i) {
    const auto& q = queues[i];
    if (!q.enabled) continue;
    auto queue = TRY(Queue::create(world_.memory, *this,
                                   {.index = static_cast<std::uint16_t>(i),
                                    .size = q.size,
                                    .descriptors = q.descriptors,
                                    .available = q.available,
                                    .used = q.used,
                                    .features = features},
                                   i < positions.size() ? positions[i] : QueuePosition{}));
    slots_.push_back({.queue = std::move(queue), .kick_fd = kicks_[i].get()});
  }
  return {};
}

void TransportPci::stop_workers() {
  if (!workers_) return;
  slots_ = workers_->stop();
  workers_.reset();
}

Status TransportPci::start_workers() {
  if (!active_ || workers_) return {};
  workers_ = TRY(Workers::start(device_, std::move(slots_), worker_options_));
  slots_.clear();
  return {};
}

void TransportPci::reset_by_driver() {
  stop_workers();
  slots_.clear();
  if (std::exchange(active_, false)) device_.reset();
  Lock lock(mutex_);
  clear_registers();
  resetting_ = false;
}

void TransportPci::reset_function() {
  reset_by_driver();
  for (const auto& kick : kicks_) {
    eventfd_t ignored = 0;
    (void)eventfd_read(kick.get(), &ignored);
  }
  msix_.reset();
  msix_.config_written(config_);
}

void TransportPci::clear_registers() {
  common_ = {};
  queues_.assign(queue_count_, {});
  for (std::size_t i = 0; i < queue_count_; ++i) queues_[i].size = traits_.queue_sizes[i];
  for (auto& vector : vectors_) vector = kNoVector;
  interrupt_status_ = 0;
}

void TransportPci::queue_used(std::uint16_t queue) {
  interrupt_status_ |= kInterruptQueue;
  if (queue < queue_count_) msix_.raise(vectors_[queue]);
}

void TransportPci::config_changed() {
  {
    Lock lock(mutex_);
    if (!frozen()) return;  // the driver will read it anyway
    ++common_.generation;
  }
  interrupt_status_ |= kInterruptConfig;
  msix_.raise(vectors_[queue_count_]);
}

void TransportPci::needs_reset() {
  {
    Lock lock(mutex_);
    common_.status |= kStatusNeedsReset;
  }
  config_changed();
}

}  // namespace reeve::core::virtio
