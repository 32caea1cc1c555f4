// agent/driver/core/driver.h - machines on the project's own hypervisor core.
//
// Each runs in a reeve-vmm process of its own that outlives the agent. What the agent must remember
// of a machine is a record on disk; everything else is found out from its process.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "agent/driver/core/cgroups.h"
#include "agent/driver/core/guest_services.h"
#include "agent/driver/core/record.h"
#include "agent/driver/core/vmm_process.h"
#include "agent/driver/core/watcher.h"
#include "agent/driver/driver.h"
#include "base/mutex.h"

namespace reeve::agent::core_driver {

struct CoreOptions {
  std::string records{};  ///< folder for the records
  std::string program{};  ///< reeve-vmm
  std::string version{};
  std::string boot_id{};  ///< of the host
  bool usable = false;    ///< the processor can run guests; else `description` says why not
  std::string description{};
  std::string cgroup_root{"/sys/fs/cgroup"};
};

class CoreDriver final : public Driver, private SavedState, private SerialConsole {
 public:
  /// Takes up the machines that run. Errors of the records' folder. `clock` outlives the driver.
  static Result<std::unique_ptr<CoreDriver>> create(CoreOptions options, const Clock& clock);
  /// Machines go on.
  ~CoreDriver() override;

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
  bool watch(std::function<void(std::string uid)> changed) override;
  SavedState* saved_state() override { return this; }
  SerialConsole* serial_console() override { return this; }

 private:
  struct Guest {
    core::v1::GuestRecord record{};
    std::shared_ptr<const VmmProcess> process{};  ///< of the last start; may have ended
  };
  /// A guest as it was when it was asked for; verbs on one guest take turns.
  using Found = Guest;
  enum class Boot : std::uint8_t { Fresh, Saved };

  static constexpr std::chrono::milliseconds kLook{5'000}, kVerb{30'000};

  CoreDriver(CoreOptions options, const Clock& clock);
  Status save(std::string_view uid, const std::string& path) override;
  Status restore(std::string_view uid, const std::string& path) override;
  Result<std::string> console_path(std::string_view uid) override;
  Result<std::string> log_path(std::string_view uid) override;

  Result<Found> find(std::string_view uid);
  Result<GuestSeen> see(const Guest& guest, std::chrono::milliseconds patience = kLook) const;
  /// How long a look at all machines waits for this one: those that were silent the last time do
  /// not hold up the others.
  std::chrono::milliseconds patience_with(const std::string& uid);
  void note_look(const std::string& uid, bool silent);
  /// A machine that was started with the agent's channel; its process may have ended.
  static bool has_agent(const Guest& guest) {
    return guest.process && guest.record.running().guest_agent();
  }
  Status keep(const Guest& guest);
  /// Unless it has one.
  void give_user(core::v1::GuestRecord& record);
  Status launch(Guest guest, const std::string& saved_state);
  Status send(std::string_view uid, std::initializer_list<GuestState> possible,
              std::function<void(core::v1::ControlRequest&)> verb);
  Result<std::vector<std::string>> limit(const core::v1::GuestRecord& record) const;
  Status limit_now(const Guest& guest) const;
  std::vector<std::string> limit_if_possible(const core::v1::GuestRecord& record);
  void release(const core::v1::GuestRecord& record) const;
  void take_over(Guest& guest);
  Status end(Guest guest, const char* reason);
  Status make_state(Guest& guest, const std::string& path);
  Status drop_state(const Guest& guest) const;
  void give_up_save(const Guest& guest, const Error& why);
  void leave(const std::string& uid);
  void take_up(std::string_view uid);
  void end_left_saves();
  bool end_left_save(const std::string& uid) REEVE_REQUIRES(left_mutex_);
  void tell(const std::string& uid);
  void ended(const std::string& uid, const VmmProcess& process);

  const CoreOptions options_;
  const Clock& clock_;
  const RecordStore records_;
  GuestServices services_;
  const bool user_network_;
  const Cgroups cgroups_;
  Mutex releasing_;   // held while ended() releases; never taken under mutex_
  Mutex left_mutex_;  // held while a left save is ended; never taken under mutex_
  /// Machines whose save nobody waits for, and until when another attempt may come.
  std::map<std::string, Monotonic, std::less<>> left_ REEVE_GUARDED_BY(left_mutex_);
  Mutex mutex_;
  std::map<std::string, Guest, std::less<>> guests_ REEVE_GUARDED_BY(mutex_);
  std::set<std::string> silent_ REEVE_GUARDED_BY(mutex_);     ///< at the last look at all machines
  std::set<std::uint32_t> users_ REEVE_GUARDED_BY(mutex_){};  ///< of all machines' processes
  std::string without_limits_ REEVE_GUARDED_BY(mutex_){};     ///< why; empty when all is well
  Mutex listener_mutex_;  // held while the listener runs; never taken under mutex_
  std::function<void(std::string)> changed_ REEVE_GUARDED_BY(listener_mutex_);
  std::unique_ptr<Watcher> watcher_;
};

}  // namespace reeve::agent::core_driver
