#include "hypervisor_core/vm/board.h"

#include <algorithm>

#include <fcntl.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/random.h"
#include "base/text.h"
#include "hypervisor_core/boot/acpi/tables.h"
#include "hypervisor_core/boot/low_memory.h"
#include "hypervisor_core/boot/smbios.h"
#include "hypervisor_core/cpu/boot_state.h"
#include "hypervisor_core/cpu/cpuid.h"
#include "hypervisor_core/cpu/cpuid_match.h"

namespace reeve::core {
namespace {

constexpr std::uint64_t kSerialPort = 0x3f8, kRtcPort = 0x70, kKeyboardPort = 0x60,
                        kPciPorts = 0xcf8;
constexpr std::uint32_t kSerialInterrupt = 4, kRtcInterrupt = 8;

Result<std::unique_ptr<boot::ByteSource>> open_image(const std::string& path) {
  auto fd = TRY(open_file(path, O_RDONLY));
  const std::uint64_t size = TRY(file_size(path));
  return std::unique_ptr<boot::ByteSource>(std::make_unique<boot::FileSource>(std::move(fd), size));
}

PageBacking backing_of(v1::PageBacking backing) {
  switch (backing) {
    case v1::PAGE_BACKING_TRANSPARENT: return PageBacking::Transparent;
    case v1::PAGE_BACKING_RESERVED: return PageBacking::Reserved;
    default: return PageBacking::Small;
  }
}

std::array<std::uint8_t, 16> uuid_bytes(const std::string& text) {
  std::array<std::uint8_t, 16> out{};
  std::string digits = text;
  std::erase(digits, '-');
  const auto bytes = from_hex(digits);
  if (bytes.ok() && bytes.value().size() == out.size())
    std::transform(bytes.value().begin(), bytes.value().end(), out.begin(),
                   [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
  return out;
}

}  // namespace

/// A pin of the interrupt controllers; calls the accelerator only when the level changes.
class Board::Line final : public InterruptLine {
 public:
  Line(accel::Partition& partition, std::uint32_t number)
      : partition_(partition), number_(number) {}
  void set_level(bool high) override {
    if (high_.exchange(high, std::memory_order_relaxed) != high) partition_.set_irq(number_, high);
  }

 private:
  accel::Partition& partition_;
  const std::uint32_t number_;
  std::atomic<bool> high_{false};
};

Board::Board(const v1::MachineConfig& config, const BoardWorld& world)
    : config_(config),
      world_(world),
      reset_control_(world.events),
      pvpanic_(world.events),
      debug_exit_(world.events),
      pci_(mmio_, reset_control_) {}

Board::~Board() = default;

Result<std::unique_ptr<Board>> Board::create(const v1::MachineConfig& config,
                                             const BoardWorld& world, Cpuid promised) {
  std::unique_ptr<Board> board(new Board(config, world));
  TRY(board->open_images());
  TRY(board->choose_cpuid(std::move(promised)));
  TRY(board->make_memory());
  TRY(board->make_chipset());
  board->peripherals_ = TRY(Peripherals::create(config, {.memory = *board->memory_,
                                                         .partition = *board->partition_,
                                                         .root = board->pci_,
                                                         .prepare_thread = world.prepare_thread,
                                                         .open_network = world.open_network,
                                                         .events = &world.events,
                                                         .console = &world.console}));
  SystemRandom::instance().fill(board->generation_id_);
  return board;
}

Status Board::open_images() {
  kernel_ = TRY(open_image(config_.kernel_path()));
  if (!config_.initrd_path().empty()) initrd_ = TRY(open_image(config_.initrd_path()));
  return {};
}

Status Board::choose_cpuid(Cpuid promised) {
  const auto supported = TRY(world_.accelerator.supported_cpuid());
  for (std::uint32_t id = 0; id < config_.vcpus(); ++id)
    cpuid_.push_back(cpu::shape_cpuid(supported, id, config_.vcpus()));
  if (promised.empty()) return {};
  if (promised.size() != cpuid_.size())
    return Error{Code::InvalidArgument, "STATE_FORMAT",
                 "saved state: CPUID of " + std::to_string(promised.size()) + " vCPUs of " +
                     std::to_string(cpuid_.size())};
  for (std::size_t id = 0; id < promised.size(); ++id)
    TRY(cpu::match_cpuid(promised[id], cpuid_[id]));
  cpuid_ = std::move(promised);
  return {};
}

Status Board::make_memory() {
  memory_ = TRY(GuestMemory::create(ram_layout(config_.memory_mib() * kMiB),
                                    backing_of(config_.page_backing())));
  std::vector<accel::MemorySlot> slots;
  for (const auto& region : memory_->regions())
    slots.push_back({.id = static_cast<std::uint32_t>(slots.size()),
                     .address = region.range.base,
                     .size = region.range.size,
                     .host = region.host});
  partition_ = TRY(world_.accelerator.create_partition(slots));
  return {};
}

Status Board::make_chipset() {
  serial_line_ = std::make_unique<Line>(*partition_, kSerialInterrupt);
  acpi_line_ = std::make_unique<Line>(*partition_, AcpiPorts::kInterrupt);
  rtc_line_ = std::make_unique<Line>(*partition_, kRtcInterrupt);
  serial_ = std::make_unique<Serial16550>(*serial_line_, world_.console);
  rtc_ = std::make_unique<CmosRtc>(world_.clock, memory_->size_bytes());
  rtc_->connect(*rtc_line_, world_.events);
  keyboard_ = std::make_unique<I8042>(world_.events);
  acpi_ = std::make_unique<AcpiHardware>(*acpi_line_, world_.events, world_.clock);
  TRY(ports_.attach(kSerialPort, Serial16550::kRegisters, *serial_));
  TRY(ports_.attach(kRtcPort, CmosRtc::kPorts, *rtc_));
  // Port 0x61 between the two registers is the accelerator's (PIT channel 2).
  TRY(ports_.attach(kKeyboardPort, I8042::kPorts, *keyboard_));
  TRY(ports_.attach(AcpiPorts::kBase, AcpiPorts::kSize, *acpi_));
  TRY(ports_.attach(kPciPorts, 8, pci_.ports()));  // with ResetControl in their midst
  TRY(ports_.attach(Pvpanic::kPort, 1, pvpanic_));
  TRY(mmio_.attach(kEcam.base, kEcam.size, pci_.ecam()));
  if (config_.debug_exit()) TRY(ports_.attach(DebugExit::kPort, DebugExit::kPorts, debug_exit_));
  return {};
}

Result<std::unique_ptr<accel::Vcpu>> Board::make_vcpu(std::uint32_t id) {
  auto vcpu = TRY(partition_->create_vcpu(id));
  TRY(vcpu->set_cpuid(cpuid_[id]));
  TRY(vcpu->set_msrs(cpu::initial_msrs()));
  TRY(vcpu->prepare_local_apic());
  return vcpu;
}

Result<boot::Entry> Board::load_kernel() {
  TRY(boot::write_acpi_tables(*memory_, {.vcpus = config_.vcpus(),
                                         .pci_window64 = pci_window64(memory_->size_bytes()),
                                         .has_debug_exit = config_.debug_exit()}));
  TRY(boot::write_smbios(*memory_,
                         {.uuid = uuid_bytes(config_.uuid()), .serial = config_.system_serial()}));
  if (!memory_->write(boot::kGenerationId, generation_id_))
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL",
                 "no room for the generation id"};
  return boot::load_image(
      *memory_,
      {.kernel = *kernel_, .initrd = initrd_.get(), .command_line = config_.command_line()});
}

Status Board::renew_generation_id() {
  SystemRandom::instance().fill(generation_id_);
  if (!memory_->write(boot::kGenerationId, generation_id_))
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL",
                 "no room for the generation id"};
  acpi_->raise_event(AcpiHardware::kGenerationIdEvent);
  return {};
}

std::size_t Board::type(std::span<const std::byte> input) {
  return peripherals_->has_terminal() ? peripherals_->type(input) : serial_->receive(input);
}

Status Board::reset() {
  serial_->reset();
  keyboard_->reset();
  acpi_->reset();
  pci_.reset();
  peripherals_->reset();
  return memory_->discard();
}

}  // namespace reeve::core
