// agent/driver/libvirt/driver.h - guests of any hypervisor that libvirt can drive.
//
//   auto driver = LibvirtDriver::create({.uri = "qemu:///system", .kvm_usable = probe.kvm_usable},
//   clock, random);
//
// The connection is kept by its own thread; while it is down every verb fails with HYPERVISOR_DOWN
// at once. Every call has a deadline (calls.h). Definitions of others are changed by patching
// (domain_edit.h); additional errors of define(): FailedPrecondition/FOREIGN_PARTS_LOST with the
// list of parts in the message, after the former definition was put back.
//
// Serial console: see domain_xml.h. The hypervisor listens on RUN_DIR/serial.sock;
// RUN_DIR/serial.log receives everything the guest writes, whether or not anybody is connected.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "agent/driver/driver.h"
#include "agent/driver/libvirt/connection.h"
#include "agent/guest/rota.h"
#include "base/clock.h"
#include "base/random.h"

namespace reeve::agent::libvirt {

struct LibvirtOptions {
  std::string uri{"qemu:///system"};
  bool kvm_usable = false;  ///< found by running a guest, never by looking at /dev/kvm
  bool confine = true;      ///< false: guests get no security label
  std::string disk_cache{"writeback"};
  std::size_t threads = 4;  ///< calls under way at once
  std::chrono::milliseconds read_deadline{std::chrono::seconds(10)};
  std::chrono::milliseconds change_deadline{std::chrono::seconds(60)};
  std::chrono::milliseconds save_deadline{std::chrono::minutes(10)};
  std::chrono::seconds agent_deadline{5};  ///< for an answer of the guest agent
  std::chrono::milliseconds keep_definitions{std::chrono::minutes(1)};
  std::chrono::milliseconds first_attempt{std::chrono::seconds(5)};  ///< create() waits so long
  ConnectionOptions connection{};  ///< its uri is replaced by the one above
};

class LibvirtDriver final : public Driver, private SavedState, private SerialConsole {
 public:
  /// Never fails because the hypervisor is away: that is a fact like any other. `clock` and
  /// `random` must outlive the driver.
  static Result<std::unique_ptr<LibvirtDriver>> create(LibvirtOptions options, const Clock& clock,
                                                       Random& random);
  ~LibvirtDriver() override;
  LibvirtDriver(const LibvirtDriver&) = delete;
  LibvirtDriver& operator=(const LibvirtDriver&) = delete;

  DriverFacts facts() override;
  Result<std::vector<GuestSeen>> list() override;
  Result<GuestSeen> get(std::string_view uid) override;
  Result<std::vector<GuestUse>> use() override;
  Result<std::vector<std::string>> define(const GuestDefinition& guest) override;
  Status undefine(std::string_view uid) override;
  Status start(std::string_view uid) override;
  Status request_shutdown(std::string_view uid) override;
  Status request_reboot(std::string_view uid) override;
  Status power_off(std::string_view uid) override;
  Status reset(std::string_view uid) override;
  Status pause(std::string_view uid) override;
  Status resume(std::string_view uid) override;
  /// After it returns, and after the destructor, the former listener is not called any more.
  bool watch(std::function<void(std::string uid)> changed) override;
  SavedState* saved_state() override;
  SerialConsole* serial_console() override;

 private:
  struct Shared;

  LibvirtDriver(LibvirtOptions options, const Clock& clock, Random& random);

  Status save(std::string_view uid, const std::string& path) override;
  Status restore(std::string_view uid, const std::string& path) override;
  Result<std::string> console_path(std::string_view uid) override;
  Result<std::string> log_path(std::string_view uid) override;

  static ConnectionHooks hooks(const LibvirtOptions& options,
                               const std::shared_ptr<Shared>& shared);
  template <class T>
  Result<T> call(std::string_view attempt, std::chrono::milliseconds deadline,
                 std::function<Result<T>(const Connect&)> work);
  /// A changing verb on one existing guest.
  Status change(std::string_view attempt, std::string_view uid,
                std::function<Status(virDomainPtr)> work);
  bool has(std::string_view capability);
  void ask_guests();

  const LibvirtOptions options_;
  const Clock& clock_;
  Rota rota_;
  const std::shared_ptr<Shared> shared_;  // also owned by calls and hooks under way
  Calls calls_;
  Connection connection_;
};

}  // namespace reeve::agent::libvirt
