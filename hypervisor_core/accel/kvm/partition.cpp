#include "hypervisor_core/accel/kvm/partition.h"

#include <string>

#include <sys/eventfd.h>
#include <unistd.h>

#include "hypervisor_core/accel/kvm/convert.h"
#include "hypervisor_core/accel/kvm/ioctl.h"
#include "hypervisor_core/memory/layout.h"

namespace reeve::core::accel::kvm {

/// An eventfd that KVM turns into a message. The partition outlives it.
class KvmPartition::Line final : public MsiLine {
 public:
  Line(KvmPartition& partition, std::uint32_t gsi, Fd event)
      : partition_(partition), gsi_(gsi), event_(std::move(event)) {}
  ~Line() override {
    if (attached_) assign(KVM_IRQFD_FLAG_DEASSIGN);
    partition_.release_route(gsi_);
  }

  Status route(const MsiMessage& message) override {
    TRY(partition_.set_route(gsi_, message));
    if (!attached_) {
      if (assign(0) < 0) return errno_error("attaching an interrupt event");
      attached_ = true;
    }
    return {};
  }

  void raise() override { (void)eventfd_write(event_.get(), 1); }

 private:
  int assign(__u32 flags) {
    kvm_irqfd request{};
    request.fd = static_cast<__u32>(event_.get());
    request.gsi = gsi_;
    request.flags = flags;
    return kvm_ioctl(partition_.fd_.get(), KVM_IRQFD, &request);
  }

  KvmPartition& partition_;
  const std::uint32_t gsi_;
  const Fd event_;
  bool attached_ = false;
};

KvmPartition::KvmPartition(Fd fd, const VcpuTraits& traits, std::size_t max_routes)
    : fd_(std::move(fd)), traits_(traits), max_routes_(max_routes), dirty_ring_(fd_.get()) {
  const auto add_pin = [this](std::uint32_t gsi, std::uint32_t chip, std::uint32_t pin) {
    kvm_irq_routing_entry entry{};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_IRQCHIP;
    entry.u.irqchip.irqchip = chip;
    entry.u.irqchip.pin = pin;
    pins_.push_back(entry);
  };
  for (std::uint32_t i = 0; i < 16; ++i)
    add_pin(i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, i % 8);
  for (std::uint32_t i = 0; i < 24; ++i) add_pin(i, KVM_IRQCHIP_IOAPIC, i);
}

Result<std::unique_ptr<Partition>> KvmPartition::create(Fd fd, const VcpuTraits& traits,
                                                        std::size_t max_routes,
                                                        std::span<const MemorySlot> memory) {
  std::unique_ptr<KvmPartition> partition(new KvmPartition(std::move(fd), traits, max_routes));
  TRY(partition->set_up(memory));
  return std::unique_ptr<Partition>(std::move(partition));
}

Status KvmPartition::set_up(std::span<const MemorySlot> memory) {
  // Intel processors without unrestricted guest mode need these pages; outside RAM and windows.
  if (kvm_ioctl(fd_.get(), KVM_SET_TSS_ADDR, kAcceleratorPages) < 0)
    return errno_error("KVM_SET_TSS_ADDR");
  const __u64 identity_map = kAcceleratorPages + 3 * kPageSize;
  if (kvm_ioctl(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
    return errno_error("KVM_SET_IDENTITY_MAP_ADDR");
  // Before the chips: their ports are new to KVM's map, and a change of memory waits until nobody
  // uses the map before them, some 4 ms on Linux 6.18.
  for (const auto& slot : memory) TRY(set_memory(slot));
  // Makes routes for the pins too, the same as ours.
  if (kvm_ioctl(fd_.get(), KVM_CREATE_IRQCHIP) < 0) return errno_error("KVM_CREATE_IRQCHIP");
  kvm_pit_config pit{};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;
  if (kvm_ioctl(fd_.get(), KVM_CREATE_PIT2, &pit) < 0) return errno_error("KVM_CREATE_PIT2");
  return {};
}

Status KvmPartition::set_memory(const MemorySlot& slot) {
  kvm_userspace_memory_region region{};
  region.slot = slot.id;
  region.flags =
      (slot.read_only ? KVM_MEM_READONLY : 0u) | (slot.track_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0u);
  region.guest_phys_addr = slot.address;
  region.memory_size = slot.size;
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(slot.host);
  Lock lock(mutex_);
  if (kvm_ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0)
    return errno_error("mapping guest memory slot " + std::to_string(slot.id));
  if (slot.size == 0)
    slots_.erase(slot.id);
  else
    slots_.insert_or_assign(slot.id, slot);
  return {};
}

Status KvmPartition::take_dirty(std::uint32_t slot, std::span<std::uint64_t> bitmap) {
  Lock lock(mutex_);
  const auto found = slots_.find(slot);
  if (found == slots_.end() || !found->second.track_dirty || dirty_ring_.enabled())
    return Error{Code::FailedPrecondition, "DIRTY_LOG_OFF",
                 "memory slot " + std::to_string(slot) + " is not tracked by a log"};
  const std::size_t words = (found->second.size / kPageSize + 63) / 64;
  if (bitmap.size() < words)
    return Error{Code::InvalidArgument, "BITMAP_TOO_SMALL", "dirty bitmap is too small"};
  std::vector<std::uint64_t> bits(words);
  kvm_dirty_log log{};
  log.slot = slot;
  log.dirty_bitmap = bits.data();
  if (kvm_ioctl(fd_.get(), KVM_GET_DIRTY_LOG, &log) < 0)
    return errno_error("reading the dirty log");
  for (std::size_t i = 0; i < words; ++i) bitmap[i] |= bits[i];
  return {};
}

Result<std::unique_ptr<Vcpu>> KvmPartition::create_vcpu(std::uint32_t id) {
  Fd vcpu(kvm_ioctl(fd_.get(), KVM_CREATE_VCPU, id));
  if (!vcpu) return errno_error("creating vCPU " + std::to_string(id));
  return KvmVcpu::create(std::move(vcpu), id, traits_, dirty_ring_);
}

void KvmPartition::set_irq(std::uint32_t line, bool level) {
  kvm_irq_level request{};
  request.irq = line;
  request.level = level;
  (void)kvm_ioctl(fd_.get(), KVM_IRQ_LINE, &request);
}

Result<std::unique_ptr<MsiLine>> KvmPartition::create_msi_line() {
  Fd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return errno_error("eventfd");
  Lock lock(mutex_);
  std::uint32_t gsi = next_gsi_;
  if (!free_gsis_.empty()) {
    gsi = free_gsis_.back();
    free_gsis_.pop_back();
  } else if (pins_.size() + (next_gsi_ - 24) >= max_routes_) {
    return Error{Code::ResourceExhausted, "NO_INTERRUPT_ROUTE", "no interrupt route is left"};
  } else {
    ++next_gsi_;
  }
  return std::unique_ptr<MsiLine>(std::make_unique<Line>(*this, gsi, std::move(event)));
}

Status KvmPartition::set_route(std::uint32_t gsi, const MsiMessage& message) {
  Lock lock(mutex_);
  const auto [entry, added] = messages_.try_emplace(gsi, message);
  if (!added) {
    if (entry->second == message) return {};
    entry->second = message;
  }
  return write_routes();
}

void KvmPartition::release_route(std::uint32_t gsi) {
  Lock lock(mutex_);
  free_gsis_.push_back(gsi);
  if (messages_.erase(gsi) != 0) (void)write_routes();
}

Status KvmPartition::write_routes() {
  const std::size_t total = pins_.size() + messages_.size();
  VariableStruct<kvm_irq_routing, kvm_irq_routing_entry> table(total);
  table->nr = static_cast<__u32>(total);
  auto* out = table.entries();
  for (const auto& pin : pins_) *out++ = pin;
  for (const auto& [gsi, message] : messages_) {
    *out = {};
    out->gsi = gsi;
    out->type = KVM_IRQ_ROUTING_MSI;
    out->u.msi.address_lo = static_cast<__u32>(message.address);
    out->u.msi.address_hi = static_cast<__u32>(message.address >> 32);
    out->u.msi.data = message.data;
    ++out;
  }
  if (kvm_ioctl(fd_.get(), KVM_SET_GSI_ROUTING, table.get()) < 0)
    return errno_error("setting interrupt routes");
  return {};
}

Result<InterruptControllerState> KvmPartition::interrupt_state() const {
  InterruptControllerState out;
  kvm_irqchip chip{};
  for (const __u32 id : {KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC}) {
    chip = {};
    chip.chip_id = id;
    if (kvm_ioctl(fd_.get(), KVM_GET_IRQCHIP, &chip) < 0) return errno_error("KVM_GET_IRQCHIP");
    if (id == KVM_IRQCHIP_PIC_MASTER) out.pic_master = from_kvm(chip.chip.pic);
    if (id == KVM_IRQCHIP_PIC_SLAVE) out.pic_slave = from_kvm(chip.chip.pic);
    if (id == KVM_IRQCHIP_IOAPIC) out.io_apic = from_kvm(chip.chip.ioapic);
  }
  kvm_pit_state2 pit{};
  if (kvm_ioctl(fd_.get(), KVM_GET_PIT2, &pit) < 0) return errno_error("KVM_GET_PIT2");
  for (std::size_t i = 0; i < out.pit.size(); ++i) out.pit[i] = from_kvm(pit.channels[i]);
  out.pit_flags = pit.flags;
  return out;
}

Status KvmPartition::set_interrupt_state(const InterruptControllerState& state) {
  const auto set = [this](__u32 id, auto fill) -> Status {
    kvm_irqchip chip{};
    chip.chip_id = id;
    fill(chip);
    if (kvm_ioctl(fd_.get(), KVM_SET_IRQCHIP, &chip) < 0)
      return Error{Code::InvalidArgument, "STATE_REFUSED",
                   errno_error("KVM_SET_IRQCHIP").message()};
    return {};
  };
  TRY(set(KVM_IRQCHIP_PIC_MASTER, [&](kvm_irqchip& c) { c.chip.pic = to_kvm(state.pic_master); }));
  TRY(set(KVM_IRQCHIP_PIC_SLAVE, [&](kvm_irqchip& c) { c.chip.pic = to_kvm(state.pic_slave); }));
  TRY(set(KVM_IRQCHIP_IOAPIC, [&](kvm_irqchip& c) { c.chip.ioapic = to_kvm(state.io_apic); }));
  kvm_pit_state2 pit{};
  for (std::size_t i = 0; i < state.pit.size(); ++i) pit.channels[i] = to_kvm(state.pit[i]);
  pit.flags = state.pit_flags;
  if (kvm_ioctl(fd_.get(), KVM_SET_PIT2, &pit) < 0)
    return Error{Code::InvalidArgument, "STATE_REFUSED", errno_error("KVM_SET_PIT2").message()};
  return {};
}

Result<std::uint64_t> KvmPartition::clock() const {
  kvm_clock_data clock{};
  if (kvm_ioctl(fd_.get(), KVM_GET_CLOCK, &clock) < 0)
    return errno_error("reading the guest clock");
  return clock.clock;
}

Status KvmPartition::set_clock(std::uint64_t nanoseconds) {
  kvm_clock_data clock{};
  clock.clock = nanoseconds;
  if (kvm_ioctl(fd_.get(), KVM_SET_CLOCK, &clock) < 0)
    return errno_error("setting the guest clock");
  return {};
}

Status KvmPartition::attach(Gpa address, int event_fd) {
  kvm_ioeventfd request{};
  request.addr = address;
  request.fd = event_fd;
  if (kvm_ioctl(fd_.get(), KVM_IOEVENTFD, &request) < 0) return errno_error("attaching a doorbell");
  return {};
}

Status KvmPartition::detach(Gpa address, int event_fd) {
  kvm_ioeventfd request{};
  request.addr = address;
  request.fd = event_fd;
  request.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
  if (kvm_ioctl(fd_.get(), KVM_IOEVENTFD, &request) < 0) return errno_error("detaching a doorbell");
  return {};
}

}  // namespace reeve::core::accel::kvm
