#include "hypervisor_core/vm/peripherals.h"

#include <algorithm>
#include <atomic>

#include <fcntl.h>

#include "base/file.h"
#include "base/random.h"
#include "hypervisor_core/block/chain.h"
#include "hypervisor_core/net/passt_backend.h"
#include "hypervisor_core/net/tap_backend.h"
#include "hypervisor_core/virtio/devices/block.h"
#include "hypervisor_core/virtio/devices/net.h"
#include "hypervisor_core/virtio/devices/rng.h"

namespace reeve::core {
namespace {

constexpr std::uint32_t kDefaultDiskQueues = 4;
constexpr std::size_t kTerminalPort = 0;

/// What the guest writes to hvc0 goes where its serial port's output goes, which takes everything.
class Terminal final : public virtio::PortSink {
 public:
  explicit Terminal(ByteSink& out) : out_(out) {}
  std::size_t guest_wrote(std::span<const std::byte> bytes) override {
    out_.write(bytes);
    return bytes.size();
  }

 private:
  ByteSink& out_;
};

Result<std::unique_ptr<Disk>> open_disk(const v1::DiskConfig& config) {
  std::vector<Layer> layers;
  for (const auto& layer : config.layers()) {
    const bool writable = layers.empty() && !config.read_only();
    layers.push_back(
        {.fd = TRY(open_file(layer.path(), writable ? O_RDWR : O_RDONLY)),
         .format = layer.format() == v1::DISK_FORMAT_QCOW2 ? DiskFormat::Qcow2 : DiskFormat::Raw});
  }
  return open_chain(std::move(layers), config.read_only() ? Access::ReadOnly : Access::ReadWrite);
}

std::array<std::uint8_t, 6> mac_of(const std::string& text) {
  std::array<std::uint8_t, 6> mac{};
  for (std::size_t i = 0; i < mac.size(); ++i)
    mac[i] = static_cast<std::uint8_t>(std::stoi(text.substr(3 * i, 2), nullptr, 16));
  return mac;
}

}  // namespace

Result<std::unique_ptr<NetBackend>> open_network_backend(const v1::NicConfig& config) {
  if (config.passt_fd() != 0)
    return std::unique_ptr<NetBackend>(
        TRY(PasstBackend::adopt(Fd(static_cast<int>(config.passt_fd())))));
  if (config.tap_name().empty())
    return std::unique_ptr<NetBackend>(TRY(PasstBackend::connect(config.passt_socket())));
  const auto pairs = static_cast<std::uint16_t>(std::max(config.queue_pairs(), 1u));
  return std::unique_ptr<NetBackend>(TRY(TapBackend::open(config.tap_name(), pairs)));
}

/// A device in its slot. The transport goes first: its workers use the device.
struct Peripherals::Unit {
  virtual ~Unit() = default;
  virtual void describe(v1::MachineStatus&) const {}
  std::string id{};
  std::unique_ptr<virtio::Device> device{};
  std::unique_ptr<virtio::TransportPci> transport{};
};

struct Peripherals::DiskUnit final : Unit, virtio::BlockEvents {
  explicit DiskUnit(MachineEvents* to) : events(to) {}
  void waiting_changed() override {
    if (events != nullptr) events->raise(MachineEvent::DiskWaiting, 0);
  }
  ~DiskUnit() override {
    transport.reset();
    device.reset();
  }
  virtio::Block& block() const { return static_cast<virtio::Block&>(*device); }
  void describe(v1::MachineStatus& status) const override {
    const auto& counters = block().counters();
    auto& out = *status.add_disks();
    out.set_id(id);
    out.set_reads(counters.reads);
    out.set_writes(counters.writes);
    out.set_read_bytes(counters.read_bytes);
    out.set_written_bytes(counters.written_bytes);
    out.set_errors(counters.errors);
  }
  MachineEvents* const events;
  std::unique_ptr<Disk> disk{};
};

struct Peripherals::NicUnit final : Unit, virtio::NetEvents {
  explicit NicUnit(MachineEvents* to) : events(to) {}
  ~NicUnit() override {
    transport.reset();
    device.reset();
  }
  void backend_lost() override {
    lost = true;
    if (events != nullptr) events->raise(MachineEvent::NetworkLost, 0);
  }
  void describe(v1::MachineStatus& status) const override {
    const auto& counters = static_cast<const virtio::Net&>(*device).counters();
    auto& out = *status.add_nics();
    out.set_id(id);
    out.set_received_frames(counters.received_frames);
    out.set_received_bytes(counters.received_bytes);
    out.set_sent_frames(counters.sent_frames);
    out.set_sent_bytes(counters.sent_bytes);
    out.set_dropped_frames(counters.dropped_in);
  }
  MachineEvents* const events;
  std::atomic<bool> lost{false};
  std::unique_ptr<NetBackend> backend{};
};

Peripherals::Peripherals(const PeripheralsWorld& world)
    : world_(world), control_("virtio-control") {}

Peripherals::~Peripherals() {
  halt();
  control_.stop();
}

Result<std::unique_ptr<Peripherals>> Peripherals::create(const v1::MachineConfig& config,
                                                         const PeripheralsWorld& world) {
  std::unique_ptr<Peripherals> out(new Peripherals(world));
  for (const auto& disk : config.disks()) {
    auto added = out->add_disk(disk, config.vcpus());
    if (!added.ok()) return std::move(added).error().during("disk '" + disk.id() + "'");
  }
  for (const auto& nic : config.nics()) {
    auto added = out->add_nic(nic);
    if (!added.ok()) return std::move(added).error().during("network card '" + nic.id() + "'");
  }
  if (config.rng()) TRY(out->add_simple(std::make_unique<virtio::Rng>(SystemRandom::instance())));
  if (config.console() || config.guest_agent()) TRY(out->add_console(config));
  if (config.balloon()) {
    auto balloon = TRY(virtio::Balloon::create(world.memory));
    out->balloon_ = balloon.get();
    TRY(out->add_simple(std::move(balloon)));
  }
  if (config.vsock_cid() != 0) TRY(out->add_vsock(config));
  return out;
}

Status Peripherals::add_disk(const v1::DiskConfig& config, std::uint32_t vcpus) {
  auto unit = std::make_unique<DiskUnit>(world_.events);
  unit->id = config.id();
  unit->disk = TRY(open_disk(config));
  const std::uint32_t queues =
      config.queues() != 0 ? config.queues() : std::min(vcpus, kDefaultDiskQueues);
  unit->device = TRY(virtio::Block::create(
      *unit->disk, {.serial = config.serial(),
                    .queues = static_cast<std::uint16_t>(queues),
                    .limit = {.bytes_per_second = config.limit_bytes_per_second(),
                              .operations_per_second = config.limit_requests_per_second()},
                    .on_error = config.on_error() == v1::ON_DISK_ERROR_PAUSE
                                    ? virtio::BlockOptions::OnError::Wait
                                    : virtio::BlockOptions::OnError::Report,
                    .events = unit.get(),
                    .prepare_thread = prepare_as(ThreadRole::Disk)}));
  return plug(std::move(unit), ThreadRole::Disk);
}

Status Peripherals::add_nic(const v1::NicConfig& config) {
  auto unit = std::make_unique<NicUnit>(world_.events);
  unit->id = config.id();
  unit->backend =
      TRY(world_.open_network ? world_.open_network(config) : open_network_backend(config));
  unit->device =
      TRY(virtio::Net::create(*unit->backend, {.mac = mac_of(config.mac()), .events = unit.get()}));
  return plug(std::move(unit), ThreadRole::Network);
}

Status Peripherals::add_simple(std::unique_ptr<virtio::Device> device) {
  auto unit = std::make_unique<Unit>();
  unit->id = std::string(device->name());
  unit->device = std::move(device);
  const bool sockets = unit->device->traits().device_id == virtio::kVsockDevice;
  return plug(std::move(unit), sockets ? ThreadRole::Socket : ThreadRole::Device);
}

/// hvc0 when there is one, then the agent's channel.
Status Peripherals::add_console(const v1::MachineConfig& config) {
  std::vector<virtio::PortOptions> ports;
  if (config.console()) {
    terminal_ = std::make_unique<Terminal>(*world_.console);
    ports.push_back({.is_console = true, .sink = terminal_.get()});
  }
  if (config.guest_agent()) {
    agent_.emplace();
    agent_port_ = ports.size();
    ports.push_back({.name = AgentChannel::kPortName, .sink = &*agent_});
  }
  auto console = TRY(virtio::Console::create(std::move(ports)));
  console_ = console.get();
  TRY(add_simple(std::move(console)));
  if (agent_) console_->set_host_open(agent_port_, true);
  return {};
}

bool Peripherals::has_terminal() const {
  return terminal_ != nullptr && console_->guest_has_open(kTerminalPort);
}

std::size_t Peripherals::type(std::span<const std::byte> input) {
  return console_->send(kTerminalPort, input);
}

Status Peripherals::add_vsock(const v1::MachineConfig& config) {
  if (config.vsock_path().empty())
    return Error{Code::InvalidArgument, "MACHINE_CONFIG", "vsock_cid needs vsock_path"};
  vsock_host_ = TRY(virtio::VsockUnixHost::listen(config.vsock_path()));
  auto vsock = TRY(virtio::Vsock::create(*vsock_host_, config.vsock_cid()));
  return add_simple(std::move(vsock));
}

Status Peripherals::set_balloon(std::uint64_t bytes) {
  if (balloon_ == nullptr)
    return Error{Code::FailedPrecondition, "NO_BALLOON", "the machine has no balloon"};
  return balloon_->set_target(bytes);
}

bool Peripherals::send_to_agent(std::string_view line) {
  if (!agent_) return false;
  const std::string text = std::string(line) + "\n";
  if (console_->room(agent_port_) < text.size()) return false;  // half a line spoils the next
  return console_->send(agent_port_, std::as_bytes(std::span(text))) == text.size();
}

bool Peripherals::thaw_guest() {
  // Still owed until it is on its way: a save in between counts it twice rather than not at all.
  if (!send_to_agent(AgentChannel::kThaw)) return false;
  agent_->owe_thaw(false);
  return true;
}

std::function<Status()> Peripherals::prepare_as(ThreadRole role) const {
  if (!world_.prepare_thread) return {};
  return [prepare = world_.prepare_thread, role] { return prepare(role); };
}

Status Peripherals::prepare_control() {
  Status outcome;
  on_control([&] { outcome = world_.prepare_thread(ThreadRole::Control); });
  return outcome;
}

Status Peripherals::plug(std::unique_ptr<Unit> unit, ThreadRole role) {
  unit->transport = TRY(virtio::TransportPci::create(
      *unit->device, {world_.memory, world_.partition, control_},
      {.name = unit->id.substr(0, 12), .prepare_thread = prepare_as(role)}));
  TRY(world_.root.add(*unit->transport));
  units_.push_back(std::move(unit));
  return {};
}

void Peripherals::on_control(const std::function<void()>& task) {
  control_.run_and_wait(task);
}

void Peripherals::halt() {
  on_control([this] {
    for (auto& unit : units_) unit->transport->stop_workers();
  });
}

Status Peripherals::go() {
  Status outcome;
  on_control([this, &outcome] {
    for (auto& unit : units_) {
      auto started = unit->transport->start_workers();
      if (!started.ok()) outcome = std::move(started).error().during("starting " + unit->id);
    }
  });
  return outcome;
}

void Peripherals::reset() {
  on_control([this] {
    for (auto& unit : units_) unit->transport->reset_function();
  });
}

std::vector<Peripherals::Plugged> Peripherals::plugged() const {
  std::vector<Plugged> out;
  for (const auto& unit : units_) out.push_back({unit->id, unit->transport.get()});
  return out;
}

void Peripherals::describe(v1::MachineStatus& status) const {
  for (const auto& unit : units_) unit->describe(status);
  if (balloon_ == nullptr) return;
  status.set_balloon_mib(balloon_->actual_bytes() >> 20);
  const auto told = balloon_->statistics();
  auto& out = *status.mutable_balloon();
  out.set_reports(told.reports);
  out.set_total_bytes(told.total_bytes.value_or(0));
  out.set_free_bytes(told.free_bytes.value_or(0));
  out.set_available_bytes(told.available_bytes.value_or(0));
  out.set_major_faults(told.major_faults.value_or(0));
}

void Peripherals::ask_for_statistics() {
  if (balloon_ != nullptr) balloon_->request_statistics();
}

std::string Peripherals::waiting_disks() const {
  std::string out;
  for (const auto& unit : units_) {
    const auto* disk = dynamic_cast<const DiskUnit*>(unit.get());
    if (disk == nullptr || disk->block().waiting() == 0) continue;
    if (!out.empty()) out += "; ";
    out += "disk '" + disk->id + "': " + std::to_string(disk->block().waiting()) +
           (disk->block().waits_for_errors() ? " requests fail on the host"
                                             : " requests wait for room on the host");
  }
  return out;
}

std::string Peripherals::lost_network() const {
  std::string out;
  for (const auto& unit : units_) {
    const auto* nic = dynamic_cast<const NicUnit*>(unit.get());
    if (nic == nullptr || !nic->lost) continue;
    if (!out.empty()) out += "; ";
    out += "network card '" + nic->id + "': its " + std::string(nic->backend->kind()) +
           " on the host has gone";
  }
  return out;
}

Status Peripherals::flush_disks() {
  for (auto& unit : units_) {
    auto* disk = dynamic_cast<DiskUnit*>(unit.get());
    if (disk == nullptr || disk->disk->read_only()) continue;
    auto flushed = disk->disk->flush();
    if (!flushed.ok()) return std::move(flushed).error().during("flushing disk '" + disk->id + "'");
  }
  return {};
}

Status Peripherals::grow_disk(const std::string& id, std::uint64_t size_bytes) {
  for (auto& unit : units_) {
    auto* disk = dynamic_cast<DiskUnit*>(unit.get());
    if (disk == nullptr || disk->id != id) continue;
    auto* resize = disk->disk->resize();
    if (resize == nullptr)
      return Error{Code::Unimplemented, "DISK_SIZE", "disk '" + id + "' has a fixed size"};
    auto grown = resize->grow(size_bytes);
    if (!grown.ok()) return std::move(grown).error().during("disk '" + id + "'");
    disk->block().announce_size();
    return {};
  }
  return Error{Code::NotFound, "DISK_NOT_FOUND", "the machine has no disk '" + id + "'"};
}

}  // namespace reeve::core
