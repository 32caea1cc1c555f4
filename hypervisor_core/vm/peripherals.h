// hypervisor_core/vm/peripherals.h - the virtio devices of a machine with their files, backends and
// transports.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/status.h"
#include "hypervisor_core/bus/machine_events.h"
#include "hypervisor_core/chipset/byte_sink.h"
#include "hypervisor_core/net/backend.h"
#include "hypervisor_core/pci/root.h"
#include "hypervisor_core/sandbox/role.h"
#include "hypervisor_core/virtio/devices/balloon.h"
#include "hypervisor_core/virtio/devices/console.h"
#include "hypervisor_core/virtio/devices/vsock.h"
#include "hypervisor_core/virtio/transport_pci.h"
#include "hypervisor_core/vm/agent_channel.h"
#include "reeve/core/v1/control.pb.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core {

using OpenNetwork = std::function<Result<std::unique_ptr<NetBackend>>(const v1::NicConfig&)>;
/// The tap device or passt of the configuration.
Result<std::unique_ptr<NetBackend>> open_network_backend(const v1::NicConfig& config);

/// What the devices are connected to; all outlive them.
struct PeripheralsWorld {
  GuestMemory& memory;
  accel::Partition& partition;
  pci::Root& root;
  PrepareThread prepare_thread{};   ///< runs first on every device thread
  OpenNetwork open_network{};       ///< empty: open_network_backend()
  MachineEvents* events = nullptr;  ///< hears DiskWaiting and NetworkLost; may be null
  ByteSink* console = nullptr;      ///< of a machine with a virtio console
};

class Peripherals {
 public:
  /// Opens files and backends and plugs the devices in, in the order of the configuration: balloon,
  /// rng, console, vsock after disks and network cards. Errors of the files and backends name the
  /// device.
  static Result<std::unique_ptr<Peripherals>> create(const v1::MachineConfig& config,
                                                     const PeripheralsWorld& world);
  ~Peripherals();
  Peripherals(const Peripherals&) = delete;
  Peripherals& operator=(const Peripherals&) = delete;

  /// Waits until no device touches guest memory. Only while no vCPU runs.
  void halt();
  /// Goes on after halt().
  Status go();
  /// Runs the world's prepare_thread on the control thread.
  Status prepare_control();
  /// Devices and transports as after power-on. Only while halted.
  void reset();

  /// A device in PCI slot order, for saved state.
  struct Plugged {
    std::string id{};
    virtio::TransportPci* transport = nullptr;
  };
  std::vector<Plugged> plugged() const;

  /// Adds figures of disks, network cards and the balloon.
  void describe(v1::MachineStatus& status) const;
  /// Disks with requests that wait for the host, for a person; empty: none. Any thread.
  std::string waiting_disks() const;
  /// Network cards whose backend has gone, for a person; empty: none. Any thread.
  std::string lost_network() const;
  /// Asks the guest how it uses its memory; describe() has the answer some time later.
  void ask_for_statistics();
  /// What the guest has written is on the host's storage when it returns. While none of them runs.
  /// Errors of the files name the disk.
  Status flush_disks();
  /// Makes a disk larger and tells the guest. NotFound/DISK_NOT_FOUND; Resize::grow()'s.
  Status grow_disk(const std::string& id, std::uint64_t size_bytes);
  /// FailedPrecondition/NO_BALLOON; InvalidArgument/BALLOON_TARGET.
  Status set_balloon(std::uint64_t bytes);
  /// True when the guest has a driver for its virtio console.
  bool has_terminal() const;
  /// Types at it; returns how many bytes were taken.
  std::size_t type(std::span<const std::byte> input);
  /// Null when the machine has no guest agent channel.
  AgentChannel* agent_channel() { return agent_ ? &*agent_ : nullptr; }
  /// Sends a line to the guest agent; false when it does not fit now.
  bool send_to_agent(std::string_view line);
  /// Sends the thaw that the guest is owed, which it is no longer then; false when it does not fit
  /// now.
  bool thaw_guest();

 private:
  struct Unit;
  struct DiskUnit;
  struct NicUnit;
  explicit Peripherals(const PeripheralsWorld& world);
  Status add_disk(const v1::DiskConfig& config, std::uint32_t vcpus);
  Status add_nic(const v1::NicConfig& config);
  Status add_simple(std::unique_ptr<virtio::Device> device);
  Status add_console(const v1::MachineConfig& config);
  Status add_vsock(const v1::MachineConfig& config);
  Status plug(std::unique_ptr<Unit> unit, ThreadRole role);
  std::function<Status()> prepare_as(ThreadRole role) const;
  void on_control(const std::function<void()>& task);

  const PeripheralsWorld world_;
  std::optional<AgentChannel> agent_;
  std::size_t agent_port_ = 0;
  std::unique_ptr<virtio::PortSink> terminal_;  ///< of port 0, when that is hvc0
  std::unique_ptr<virtio::VsockHost> vsock_host_;
  virtio::Balloon* balloon_ = nullptr;  ///< owned by its unit
  virtio::Console* console_ = nullptr;  ///< owned by its unit
  ThreadLoop control_;
  std::vector<std::unique_ptr<Unit>> units_;
};

}  // namespace reeve::core
